# %% question
"""
At 32 labelled and 32 unlabelled faces a step, how many steps may ReMixMatch take in the compute of 1,000 steps of
FixMatch? Ask the library, as the table does.
"""

# %% stub
from face2exp_lib.methods import METHODS

steps = 1000

# %% solution
from face2exp_lib.methods import METHODS

costs = {
    name: METHODS[name].cost(METHODS[name].options(), 32, 32).cost
    for name in ("fixmatch", "remixmatch")
}
steps = int(1000 * costs["fixmatch"] / costs["remixmatch"])

# %% check
assert steps == 437
