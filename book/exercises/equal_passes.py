# %% question
"""
How many supervised steps of 32 images cost as much as 500 steps of Meta-Face2Exp with 32 and 32? Count forward
and backward passes with the library, a backward pass as two.
"""

# %% stub
from face2exp_lib.methods import METHODS
from face2exp_lib.methods.meta_face2exp import MetaOptions

meta = METHODS["meta"].cost(MetaOptions(), 32, 32)
supervised = METHODS["supervised"].cost(None, 32, 0)
steps = 500

# %% solution
from face2exp_lib.methods import METHODS
from face2exp_lib.methods.meta_face2exp import MetaOptions

meta = METHODS["meta"].cost(MetaOptions(), 32, 32)
supervised = METHODS["supervised"].cost(None, 32, 0)
steps = int(500 * meta.cost / supervised.cost)

# %% check
assert supervised.cost == 96
assert steps == 2500
