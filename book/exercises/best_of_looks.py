# %% question
"""
Two arms are equally good: 65 % of 3,500 test faces. One is looked at 10 times, the other 100 times, and of each the
best look is reported. By how many points does the second win on average, if looks are independent? The expected largest
of $k$ standard normal numbers is 1.54 for 10 and 2.51 for 100.
"""

# %% stub
win = 0.0

# %% solution
import math

win = (2.51 - 1.54) * 100 * math.sqrt(0.65 * 0.35 / 3500)

# %% check
assert abs(win - 0.782) < 0.01
