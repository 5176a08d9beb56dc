# %% question
"""
How many images of each class does a balanced draw take from AffectNet's 283,901 images of seven classes if it
is to be 10 % of them, and which class cannot give so many? Fill in both from the published counts.
"""

# %% stub
from face2exp_lib.data.formats.published import AFFECTNET_TRAIN

counts = {name: n for name, n in AFFECTNET_TRAIN.counts.items() if name != "contempt"}
per_class = 0
short = []

# %% solution
from face2exp_lib.data.formats.published import AFFECTNET_TRAIN

counts = {name: n for name, n in AFFECTNET_TRAIN.counts.items() if name != "contempt"}
per_class = sum(counts.values()) // 10 // 7
short = [name for name, n in counts.items() if n < per_class]

# %% check
assert per_class == 4055
assert short == ["disgust"]
