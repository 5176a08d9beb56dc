# %% question
"""
A detector finds 90 % of the angry faces and calls 5 % of the others angry; one face in a hundred is angry. What share
of its alarms is right?
"""

# %% stub
share_right = 0.9

# %% solution
share_right = 0.9 * 0.01 / (0.9 * 0.01 + 0.05 * 0.99)

# %% check
assert abs(share_right - 0.1538) < 1e-3
