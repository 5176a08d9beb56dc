# %% question
"""
A low std over classes is good only beside a high mean. Write the accuracies of the classes of two networks, one
that guesses at random and one that always says "happy", on a balanced test of seven classes, and compare.
"""

# %% stub
guesser = [0.0] * 7
always_happy = [0.0] * 7

# %% solution
guesser = [100 / 7] * 7
always_happy = [0, 100, 0, 0, 0, 0, 0]

# %% check
import numpy as np

assert abs(np.mean(guesser) - np.mean(always_happy)) < 1e-9
assert np.std(guesser) < 1e-9
assert abs(np.std(always_happy) - 34.99) < 0.01
