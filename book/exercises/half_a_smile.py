# %% question
"""
Weights of units simply add up. A face has unit 6 in full and unit 7 at a quarter. How strong is `eyeSquintLeft`, by the
table of the units and not by `unit_weights`?
"""

# %% stub
from face2exp_lib.rendering.expressions import ACTION_UNITS

squint = ACTION_UNITS[6].arkit["eyeSquint*"]

# %% solution
from face2exp_lib.rendering.expressions import ACTION_UNITS

squint = ACTION_UNITS[6].arkit["eyeSquint*"] + 0.25 * ACTION_UNITS[7].arkit["eyeSquint*"]

# %% check
from face2exp_lib.rendering.studio import unit_weights

assert abs(squint - unit_weights({6: 1.0, 7: 0.25})["eyeSquintLeft"]) < 1e-9
