# %% question
"""
How likely is it that a network which guesses among seven classes names ten or more of fourteen photos rightly? Add up the binomial
distribution.
"""

# %% stub
chance = 1.0

# %% solution
from math import comb

chance = sum(comb(14, k) * (1 / 7) ** k * (6 / 7) ** (14 - k) for k in range(10, 15))

# %% check
assert 1e-6 < chance < 3e-6
