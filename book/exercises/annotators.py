# %% question
"""
Seven classes, two annotators who agree on 80 % of the faces. How often is each of them right, if errors are spread
evenly over the other classes? Solve the quadratic equation by hand, and take the larger root.
"""

# %% stub
p = 0.5

# %% solution
# p^2 + (1 - p)^2 / 6 = 0.8, that is 7 p^2 - 2 p + 1 - 4.8 = 0
p = (2 + (4 + 4 * 7 * 3.8) ** 0.5) / 14

# %% check
assert abs(p**2 + (1 - p) ** 2 / 6 - 0.8) < 1e-9
assert p > 0.5
