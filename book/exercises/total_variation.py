# %% question
"""
Write the total variation of two sets of class counts: half the sum of the differences of their shares.
"""

# %% stub
import numpy as np


def total_variation(one, other):
    return float(np.abs(np.array(one) - np.array(other)).sum())


# %% solution
import numpy as np


def total_variation(one, other):
    shares = (np.array(counts) / sum(counts) for counts in (one, other))
    return float(np.abs(np.subtract(*shares)).sum() / 2)


# %% check
assert abs(total_variation([1, 1], [20, 20])) < 1e-12
assert abs(total_variation([1, 0], [0, 5]) - 1) < 1e-12
assert abs(total_variation([3, 1], [1, 3]) - 0.5) < 1e-12
