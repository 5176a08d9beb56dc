# %% question
"""
Start from *surprise* and make it fear. Which units have to be added, and which taken away? Ask the main prototypes.
"""

# %% stub
from face2exp_lib.rendering.studio import main_prototype

surprise, fear = (set(main_prototype(name).units) for name in ("surprise", "fear"))
added = set()
taken_away = surprise

# %% solution
from face2exp_lib.rendering.studio import main_prototype

surprise, fear = (set(main_prototype(name).units) for name in ("surprise", "fear"))
added = fear - surprise
taken_away = surprise - fear  # then try it on the sliders: an open jaw still says surprise

# %% check
assert 4 in added  # the lowered brow that pulls the raised ones together
assert 20 in added  # the stretched lips
assert surprise - taken_away | added == fear
assert not added & taken_away
