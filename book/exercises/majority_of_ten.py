# %% question
"""
Ten annotators, each right with probability 0.65, all errors on one and the same other class. How often does a strict
majority say the right one? Why is that less than most people guess?
"""

# %% stub
from math import comb

majority = 0.65

# %% solution
from math import comb

majority = sum(comb(10, k) * 0.65**k * 0.35 ** (10 - k) for k in range(6, 11))

# %% check
assert abs(majority - 0.7515) < 1e-3
