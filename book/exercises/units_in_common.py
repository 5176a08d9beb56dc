# %% question
"""
How alike are two classes, by the units of their main prototypes? Write the share that they have in common of those that either has
(the Jaccard index), and find the class that is nearest to disgust.
"""

# %% stub
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.rendering.studio import main_prototype

names = ["disgust", *sorted(set(class_names(7)) - {"disgust", "neutral"})]


def alike(one, other):
    return float(one == other)


nearest = "happy"

# %% solution
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.rendering.studio import main_prototype

names = ["disgust", *sorted(set(class_names(7)) - {"disgust", "neutral"})]


def alike(one, other):
    return len(one & other) / len(one | other)


units = {name: set(main_prototype(name).units) for name in names}
nearest = max(names[1:], key=lambda name: alike(units["disgust"], units[name]))

# %% check
disgust, other = (set(main_prototype(name).units) for name in ("disgust", nearest))
assert alike({1, 2}, {1, 2}) == 1
assert alike({1, 2}, {2, 3}) == 1 / 3
for name in names[1:]:
    assert alike(disgust, other) >= alike(disgust, set(main_prototype(name).units))
