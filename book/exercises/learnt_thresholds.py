# %% question
"""
FreeMatch: the network is 80 % sure on average, and its mean probabilities are 0.6 for neutral, 0.3 for happy and 0.1
for fear. Work out the threshold of each class. Which faces does it keep that FixMatch at 0.95 leaves out?
"""

# %% stub
mean_probability = [0.6, 0.3, 0.1]
thresholds = [0.95, 0.95, 0.95]

# %% solution
mean_probability = [0.6, 0.3, 0.1]
thresholds = [0.8 * p / max(mean_probability) for p in mean_probability]

# %% check
expected = [0.8, 0.4, 0.8 / 6]
assert all(abs(a - b) < 1e-6 for a, b in zip(thresholds, expected, strict=True))
