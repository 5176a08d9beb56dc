# %% question
"""
A network answers "happy" to every image. What are its overall accuracy and its class mean on FER2013's training
counts? Compute both from the published counts.
"""

# %% stub
from face2exp_lib.data.formats.published import FER2013_TRAIN

counts = FER2013_TRAIN.counts
overall = 0.0
class_mean = 0.0

# %% solution
from face2exp_lib.data.formats.published import FER2013_TRAIN

counts = FER2013_TRAIN.counts
overall = counts["happy"] / sum(counts.values())
class_mean = 1 / len(counts)  # right in one class of seven, wrong in the others

# %% check
assert abs(overall - 0.2513) < 1e-4
assert abs(class_mean - 0.1429) < 1e-4
