# %% question
"""
A run is validated at eight checkpoints and the best is kept. In a run whose accuracy stands still at 70 and whose validation has a deviation
of 1.4 points (1,050 faces), how high is the best of eight on average? Draw ten thousand runs.
"""

# %% stub
import numpy as np

rng = np.random.default_rng(0)
best = 70.0

# %% solution
import numpy as np

rng = np.random.default_rng(0)
best = rng.normal(70, 1.4, (10_000, 8)).max(1).mean()

# %% check
assert 71.9 < best < 72.1  # two points too good: why the test part is read apart, and once
