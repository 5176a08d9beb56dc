# %% question
"""
Four arms are compared with one. Their p values are 0.010, 0.015, 0.030 and 0.200. Correct them by Holm's method: the smallest times
four, the next times three, and so on, none smaller than the one before it, none over 1. How many fall under 0.05?
"""

# %% stub
p = [0.010, 0.015, 0.030, 0.200]
corrected = p

# %% solution
p = [0.010, 0.015, 0.030, 0.200]
corrected, largest = [], 0.0
for place, value in enumerate(p):
    largest = max(largest, min(1.0, (len(p) - place) * value))
    corrected.append(largest)

# %% check
from face2exp_lib.comparison.summary import holm

by_library = holm(dict(enumerate(p))).values()
assert all(abs(a - b) < 1e-12 for a, b in zip(corrected, by_library, strict=True))
assert sum(value < 0.05 for value in corrected) == 2
