# %% question
"""
How many photos of a class does a test need, so that an accuracy of 60 % has a 95 % interval of no more than 10 points to
either side? Take the simple interval, $1.96 \\sqrt{p (1 - p) / n}$.
"""

# %% stub
photos = 10

# %% solution
from math import ceil

photos = ceil(1.96**2 * 0.6 * 0.4 / 0.1**2)

# %% check
def half_width(n):
    return 1.96 * (0.6 * 0.4 / n) ** 0.5


assert half_width(photos) <= 0.1 < half_width(photos - 1)
