"""Rendered 3D faces whose expression, identity, pose and light are known.

`render_face(spec, index)` draws one image and its `FaceRecord`; an image is a pure function of the
spec's seed and purpose and of its index. `python -m face2exp_lib.faces.pack` writes whole sets.
"""

from face2exp_lib.faces.record import FaceRecord
from face2exp_lib.faces.render import render_face
from face2exp_lib.faces.spec import FaceSpec, SpecError, make_spec

__all__ = ["FaceRecord", "FaceSpec", "SpecError", "make_spec", "render_face"]
