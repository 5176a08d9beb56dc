"""Painting skin: mottling, blush, lids and lips.

Places are template coordinates in decimetres (see `head.Head.vertices`), so a brow moves with its
skin.
"""

import numpy as np

from face2exp_lib.rendering.assets import Material, look_up
from face2exp_lib.rendering.features import paint_clothes, paint_eyes, paint_mouth
from face2exp_lib.rendering.geometry import gaussian, smoothstep
from face2exp_lib.rendering.hair_paint import paint_beard, paint_brows, paint_locks, paint_scalp
from face2exp_lib.rendering.identity import Identity
from face2exp_lib.rendering.noise import noise
from face2exp_lib.rendering.paint import Paint
from face2exp_lib.rendering.surface import Surface

SKIN_GLOSS = 0.28


def paint_surface(surface: Surface, identity: Identity) -> Paint:
    """Everything that is seen of a head, painted."""
    points, offset = surface.template, identity.texture_offset
    skin = (surface.material == Material.BODY).astype(np.float32)
    paint = Paint(identity.skin_albedo, len(points), SKIN_GLOSS * identity.skin_gloss)
    coarse = noise(points, 7.0, offset)
    middle = noise(points, 26.0, offset + 9)
    fine = noise(points, 70.0, offset + 4)
    mottle = (0.55 * coarse + 0.3 * middle + 0.25 * fine) * identity.mottling
    paint.albedo *= (1 + mottle)[:, None]
    paint.tint(coarse * identity.mottling * 0.5, (1.4, 0.7, 0.7))

    ears = look_up("ears", surface.uv) * skin
    lips = look_up("lips", surface.uv) * skin
    paint_complexion(paint, surface, identity, skin, ears, freckles=fine + 0.6 * middle)
    paint_lips(paint, identity, lips, mottle)
    paint_beard(paint, surface, identity, skin * (1 - lips))
    paint_brows(paint, surface, identity, skin)
    paint_scalp(paint, surface, identity, skin * (1 - np.clip(ears * 3, 0, 1)))
    paint_locks(paint, surface, identity)
    paint_clothes(paint, surface, identity, middle)
    paint_mouth(paint, surface, identity)
    paint_eyes(paint, surface, identity)
    np.clip(paint.albedo, 0, 1, out=paint.albedo)
    return paint


def paint_complexion(
    paint: Paint,
    surface: Surface,
    identity: Identity,
    skin: np.ndarray,
    ears: np.ndarray,
    freckles: np.ndarray,
) -> None:
    """Redness of cheeks, nose, chin and ears; shade under and over the eyes; freckles."""
    x, y, z = surface.template.T
    side, front = np.abs(x), z > 0.9
    cheeks = gaussian(side - 0.43, 0.17) * gaussian(y - 7.03, 0.12)
    nose = gaussian(x, 0.11) * gaussian(y - 6.95, 0.09) * (z > 1.5)
    chin = gaussian(x, 0.16) * gaussian(y - 6.38, 0.09)
    blush = (cheeks + 0.8 * nose + 0.4 * chin) * skin
    paint.tint(blush * identity.blush, (1.06, 0.80, 0.80))
    cheekbones = gaussian(side - 0.48, 0.16) * gaussian(y - 7.08 - 0.25 * (side - 0.48), 0.10)
    paint.tint(cheekbones * front * skin * identity.rouge, (1.05, 0.62, 0.66))
    paint.tint(ears * 0.6, (1.05, 0.82, 0.80))
    under_eyes = gaussian(side - 0.30, 0.15) * gaussian(y - 7.14, 0.055) * front * skin
    paint.tint(under_eyes * identity.dark_under_eyes, (0.74, 0.66, 0.70))
    lids = look_up("eyelids", surface.uv) * skin
    paint.tint(lids * 0.5, (0.86, 0.74, 0.74))
    paint.tint(lids * identity.eye_shadow, (0.35, 0.28, 0.38))
    sockets = gaussian(side - 0.27, 0.17) * gaussian(y - 7.40, 0.07) * front * skin
    paint.tint(sockets * 0.35, (0.86, 0.78, 0.78))
    if identity.freckles > 0:
        region = gaussian(x, 0.5) * gaussian(y - 7.05, 0.2) * (z > 1) * skin
        paint.tint(smoothstep(freckles, 1.0, 1.6) * region * identity.freckles, (0.62, 0.50, 0.42))


def paint_lips(paint: Paint, identity: Identity, lips: np.ndarray, mottle: np.ndarray) -> None:
    """Lips in their own colour, then lipstick."""
    own = identity.skin_albedo * np.array([0.92, 0.58, 0.60], np.float32)
    own = np.clip(own + np.array([0.03, 0.0, 0.004], np.float32), 0, 1)
    paint.cover(lips * identity.lip_colour, own * (1 + 0.5 * mottle)[:, None])
    paint.cover(lips * identity.lipstick, identity.lipstick_albedo)
    paint.gloss += 0.35 * lips
    paint.hardness += 14 * lips
