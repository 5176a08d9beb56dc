# %% question
"""
How much of a 224 px view do the paper's patches show in the mode `keep`, at most, if none overlap: two eyes of
50 x 20, a nose and two mouth corners of 50 x 40 and a forehead of 224 x 50?
"""

# %% stub
share = 0.0

# %% solution
share = (2 * 50 * 20 + 3 * 50 * 40 + 224 * 50) / 224**2

# %% check
from face2exp_lib.augmentation.patches import EYE, FOREHEAD, NOSE_OR_MOUTH, VIEW_SIDE

areas = [width * height for width, height in (EYE, NOSE_OR_MOUTH, FOREHEAD)]
assert abs(share - (2 * areas[0] + 3 * areas[1] + areas[2]) / VIEW_SIDE**2) < 1e-9
