# %% question
"""
A network that has learnt nothing but the frequencies of its labels names every face *happy*, the most frequent class. Write its class
accuracies on a balanced test of seven classes, its class mean and its std.
"""

# %% stub
import numpy as np

accuracy = np.full(7, 100 / 7)
mean, std = accuracy.mean(), accuracy.std()

# %% solution
import numpy as np

accuracy = np.array([0, 100, 0, 0, 0, 0, 0])
mean, std = accuracy.mean(), accuracy.std()

# %% check
assert round(mean, 1) == 14.3
assert round(std, 1) == 35.0  # the most biased network there is has the class mean of a guess
