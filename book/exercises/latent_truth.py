# %% question
"""
IPA2LT with two classes: the network gives a face p = (0.8, 0.2), and an annotator's rows of T are (0.9, 0.1) and
(0.4, 0.6). How probable is it that the annotator says the second class? If so, how probable is the second class after
all? Bayes' rule answers it, and no annotator is believed outright.
"""

# %% stub
p, rows = [0.8, 0.2], [[0.9, 0.1], [0.4, 0.6]]
says_second = 0.2
truly_second = 1.0

# %% solution
p, rows = [0.8, 0.2], [[0.9, 0.1], [0.4, 0.6]]
says_second = p[0] * rows[0][1] + p[1] * rows[1][1]
truly_second = p[1] * rows[1][1] / says_second

# %% check
assert abs(says_second - 0.2) < 1e-9
assert abs(truly_second - 0.6) < 1e-9
