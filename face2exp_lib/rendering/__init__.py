"""Rendered 3D faces whose expression, identity, pose and light are known.

One image, and the truth about it:

    spec = FaceSpec(seed=1, count=1000, size=96, classes={"happy": 3, "sad+anger": 1})
    image, record = render_face(spec, 0)  # (96, 96, 3) uint8 sRGB, and a FaceRecord

A whole set of any size, as a zip, folders or WebDataset shards, from the same fields in a file:

    face2exp data render SPEC.yaml --out DIR

The default pack, which the package carries:

    face2exp data render data/rendered/spec.yaml --out data/rendered

An image is a pure function of the spec and of its index; drawing needs numba (the extra `render`).
"""

from face2exp_lib.rendering.record import FaceRecord
from face2exp_lib.rendering.render import render_face
from face2exp_lib.rendering.spec import FaceSpec, SpecError, make_spec

__all__ = ["FaceRecord", "FaceSpec", "SpecError", "make_spec", "render_face"]
