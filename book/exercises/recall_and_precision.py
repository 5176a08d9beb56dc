# %% question
"""
A confusion of two classes, rows true: of 100 sad faces 60 are called sad and 40 neutral; of 100 neutral faces 90 are called neutral and 10 sad.
Write the recall of both, the share of faces that are called neutral, and the precision of *neutral*.
"""

# %% stub
recall_sad, recall_neutral = 0.0, 0.0
called_neutral = 0.5
precision_neutral = 0.0

# %% solution
recall_sad, recall_neutral = 60 / 100, 90 / 100
called_neutral = (40 + 90) / 200
precision_neutral = 90 / (40 + 90)

# %% check
import numpy as np

confusion = np.array([[60, 40], [10, 90]])
assert np.allclose([recall_sad, recall_neutral], np.diag(confusion) / confusion.sum(1))
assert np.isclose(called_neutral, confusion[:, 1].sum() / confusion.sum())
assert np.isclose(precision_neutral, confusion[1, 1] / confusion[:, 1].sum())
