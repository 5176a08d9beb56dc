# %% question
"""
A class has 70 test images and 21 of them are right. Write Wilson's 95 % interval for its accuracy; with $z = 1.96$ its
middle is $(k + z^2 / 2) / (n + z^2)$.
"""


# %% stub
def wilson(right, n, z=1.959964):
    share = right / n
    half = z * (share * (1 - share) / n) ** 0.5
    return share - half, share + half


# %% solution
def wilson(right, n, z=1.959964):
    share, middle = right / n, (right + z**2 / 2) / (n + z**2)
    half = z / (n + z**2) * (share * (1 - share) * n + z**2 / 4) ** 0.5
    return middle - half, middle + half


# %% check
import numpy as np

from face2exp_lib.evaluation.metrics import wilson_intervals

confusion = np.array([[21, 49], [0, 70]])
by_library = wilson_intervals(confusion, ["a", "b"])
for name, right in (("a", 21), ("b", 70)):
    assert np.allclose(np.multiply(100, wilson(right, 70)), by_library[name], atol=1e-3)
