# %% question
"""
A network is right on 90 % of happy faces and on 40 % of afraid ones. Write its overall accuracy on a test in which a
share $s$ of the faces is afraid, and the share at which a network that always says "happy" is as good.
"""

# %% stub
def overall(s):
    return (0.9 + 0.4) / 2


as_good = 0.5

# %% solution
def overall(s):
    return (1 - s) * 0.9 + s * 0.4


as_good = 1 / 5  # 1 - s = 0.9 - 0.5 s

# %% check
assert abs(overall(0) - 0.9) < 1e-12
assert abs(overall(0.5) - 0.65) < 1e-12
assert abs(overall(as_good) - (1 - as_good)) < 1e-12
