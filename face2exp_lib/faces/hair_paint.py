"""Layers of hair: beard, brows, the hair on the scalp, hanging strips.

Places are template coordinates in decimetres (see `head.Head.vertices`), so a brow moves with its
skin.
"""

import numpy as np

from face2exp_lib.faces.assets import Material, look_up
from face2exp_lib.faces.geometry import gaussian, smoothstep
from face2exp_lib.faces.identity import Identity
from face2exp_lib.faces.noise import noise
from face2exp_lib.faces.paint import Paint
from face2exp_lib.faces.surface import Surface

BROW_START_X, BROW_LENGTH, BROW_Y, BROW_HALF_WIDTH = 0.105, 0.46, 7.505, 0.036
# Relative thickness of a brow along its length.
BROW_PROFILE_AT = (-0.1, 0.0, 0.15, 0.6, 1.0, 1.1)
BROW_PROFILE = (0.0, 0.75, 1.0, 0.8, 0.28, 0.0)
# How much of the scalp's skin the shortest hair hides.
SHORT_HAIR_COVER = {"bald": 0.10, "buzz": 0.72}


def paint_beard(paint: Paint, surface: Surface, identity: Identity, bare_skin: np.ndarray) -> None:
    """Stubble to full beard on jaw and chin, with or without a moustache."""
    x, y, z = surface.template.T
    side = np.abs(x)
    jaw = smoothstep(-y, -6.95, -6.72) * (z > 0.45) * smoothstep(y, 5.95, 6.2)
    upper_lip = smoothstep(-side, -0.28, -0.12) * smoothstep(y, 6.45, 6.55)
    jaw = jaw * (1 - upper_lip * (not identity.moustache))
    above_jaw = smoothstep(y - (6.62 + 0.55 * np.clip(side - 0.25, 0, 1)), 0, 0.12)
    jaw = jaw * (1 - above_jaw * smoothstep(side, 0.25, 0.36))
    under_nose = gaussian(x, 0.09) * gaussian(y - 6.93, 0.05)
    jaw = jaw * (y < 6.93) * (1 - under_nose) * bare_skin
    jaw = jaw * (1 - look_up("inside_mouth", surface.uv))
    stubble = noise(surface.template, 95.0, identity.texture_offset, stretch=(1, 0.35, 1))
    stubble = np.clip(0.75 + 0.5 * stubble, 0, 1)
    paint.cover(np.clip(jaw * identity.beard * stubble, 0, 1) * 0.92, identity.brow_albedo)


def paint_brows(paint: Paint, surface: Surface, identity: Identity, skin: np.ndarray) -> None:
    """Two brows of short strands, thinner and arched towards the temples."""
    x, y, z = surface.template.T
    along = (np.abs(x) - BROW_START_X) / BROW_LENGTH
    arch = np.sin(np.pi * np.clip(along, 0, 1) ** 1.25) * 0.055
    tail = np.clip(along - 0.6, 0, 1) / 0.4 * 0.035
    line = BROW_Y + identity.brow_height + identity.brow_arch * (arch - tail)
    half_width = (
        BROW_HALF_WIDTH
        * identity.brow_thickness
        * np.interp(along, BROW_PROFILE_AT, BROW_PROFILE).astype(np.float32)
    )
    off_line = np.abs(y - line) / (half_width + 1e-4)
    strands = noise(surface.template, 120.0, identity.texture_offset, stretch=(1, 0.45, 0.3))
    brow = (1 - smoothstep(off_line, 0.45, 1.15)) * np.clip(0.7 + 0.5 * strands, 0, 1.1)
    brow = brow * smoothstep(along, -0.08, 0.06) * (1 - smoothstep(along, 0.92, 1.05))
    brow = np.clip(brow * (z > 0.9) * skin * identity.brow_opacity, 0, 1)
    paint.cover(brow, identity.brow_albedo)
    paint.gloss *= 1 - 0.7 * brow


def paint_scalp(paint: Paint, surface: Surface, identity: Identity, hair_skin: np.ndarray) -> None:
    """Hair that lies on the head, in strands that run down from the crown."""
    x, y, z = surface.template.T
    offset = identity.texture_offset
    around, radius = np.arctan2(x, z - 0.25), np.hypot(x, z - 0.25)
    combed = np.stack([around * 9, (8.4 - y) * 1.4, radius * 2.0], 1).astype(np.float32)
    strands = 0.6 * noise(combed, 4.5, offset) + 0.5 * noise(combed, 11.0, offset + 3)
    fringe = identity.fringe * smoothstep(z, 0.9, 1.2)
    soft_edge = 0.03 if identity.hair_thickness > 0.02 else 0.06
    cover = smoothstep(surface.hair_height + 0.035 * strands + fringe, -0.015, soft_edge)
    cover = cover * hair_skin * (y > 6.5) * SHORT_HAIR_COVER.get(identity.hair_style, 1.0)
    paint.cover(cover, identity.hair_albedo * np.clip(1 + 0.42 * strands, 0.25, 2.2)[:, None])
    paint.gloss *= 1 - 0.8 * cover
    paint.hardness *= 1 - 0.3 * cover


def paint_strips(paint: Paint, surface: Surface, identity: Identity) -> None:
    """Long hair: strands that run down the strips."""
    strip = surface.material == Material.HAIR
    if not strip.any():
        return
    points, offset = surface.template[strip], identity.texture_offset
    strands = 0.6 * noise(points, 38.0, offset, stretch=(1, 0.06, 1))
    strands += 0.4 * noise(points, 90.0, offset, stretch=(1, 0.05, 1))
    paint.albedo[strip] = identity.hair_albedo * np.clip(1 + 0.5 * strands, 0.25, 2.2)[:, None]
    paint.gloss[strip], paint.hardness[strip] = 0.06, 12
