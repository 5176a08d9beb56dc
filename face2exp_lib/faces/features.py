"""Layers that are not skin: clothes, the inside of the mouth, eyes and lashes."""

import numpy as np

from face2exp_lib.faces.assets import Material, look_up
from face2exp_lib.faces.geometry import gaussian, normalise, smoothstep
from face2exp_lib.faces.head import EYE_CENTRES
from face2exp_lib.faces.identity import Identity
from face2exp_lib.faces.paint import Paint
from face2exp_lib.faces.surface import Surface

IRIS_RADIUS = 0.47  # radians, seen from the centre of the eyeball
TOOTH_WIDTH = 0.085  # decimetres


def paint_clothes(paint: Paint, surface: Surface, identity: Identity, grain: np.ndarray) -> None:
    """A plain garment up to a collar that is lower in front."""
    x, y, z = surface.template.T
    collar = (
        identity.neckline + 0.22 * (1 - gaussian(x, 0.9)) - 0.18 * gaussian(x, 0.35) * (z > 0.3)
    )
    cloth = smoothstep(collar - y, -0.01, 0.02) * (surface.material == Material.BODY)
    paint.cover(cloth, identity.clothes_albedo * (1 + 0.1 * grain[:, None]))
    paint.gloss *= 1 - cloth


def paint_mouth(paint: Paint, surface: Surface, identity: Identity) -> None:
    """The inside of the lips, teeth and tongue: darker the deeper they lie."""
    x, _, z = surface.template.T
    inside = look_up("inside_mouth", surface.uv) * (surface.material == Material.BODY)
    depth = 0.12 + 0.88 * smoothstep(z, 1.25, 1.52)
    paint.cover(inside, np.array([0.33, 0.09, 0.085], np.float32) * depth[:, None])
    paint.gloss *= 1 - 0.5 * inside

    teeth = surface.material == Material.TEETH
    across = np.clip(x[teeth], -0.3, 0.3) * np.pi / TOOTH_WIDTH
    gaps = 0.75 + 0.25 * np.abs(np.cos(across)) ** 0.35
    shade = (0.25 + 0.75 * smoothstep(z[teeth], 1.22, 1.46)) * gaps * identity.teeth_brightness
    paint.albedo[teeth] = np.array([0.80, 0.76, 0.66], np.float32) * shade[:, None]
    paint.gloss[teeth], paint.hardness[teeth] = 0.5, 40

    tongue = surface.material == Material.TONGUE
    shade = 0.35 + 0.65 * smoothstep(z[tongue], 1.0, 1.38)
    paint.albedo[tongue] = np.array([0.45, 0.15, 0.14], np.float32) * shade[:, None]
    paint.gloss[tongue], paint.hardness[tongue] = 0.4, 25


def paint_eyes(paint: Paint, surface: Surface, identity: Identity) -> None:
    """Eyeballs (white, iris, pupil, shade of the upper lid) and lashes."""
    eye = surface.material == Material.EYE
    points = surface.template[eye]
    outward = normalise(points - EYE_CENTRES[(points[:, 0] > 0).astype(int)])
    off_axis = np.arccos(np.clip(outward[:, 2], -1, 1))
    around = np.arctan2(outward[:, 1], outward[:, 0])

    fibres = 1 + 0.15 * np.sin(around * 23 + 3 * np.sin(around * 5))
    radial = 0.65 + 0.6 * smoothstep(off_axis, 0.2, 0.42)
    limbus = 1 - 0.75 * smoothstep(off_axis, IRIS_RADIUS - 0.09, IRIS_RADIUS)
    iris = identity.iris_albedo * (fibres * radial * limbus)[:, None]
    veins = 0.25 * np.outer(smoothstep(off_axis, 0.75, 1.25), np.array([0.1, 0.9, 0.9]))
    white = np.array([0.60, 0.56, 0.53]) * (1 - 0.12 * smoothstep(off_axis, 0.7, 1.2))[:, None]
    in_iris = smoothstep(-off_axis, -IRIS_RADIUS - 0.02, -IRIS_RADIUS + 0.03)[:, None]
    pupil = identity.pupil_radius
    in_pupil = smoothstep(-off_axis, -pupil - 0.03, -pupil + 0.02)[:, None]
    colour = white * (1 - veins) * (1 - in_iris) + iris * in_iris
    colour = colour * (1 - in_pupil) + 0.008 * in_pupil
    lid_shade = 1 - 0.45 * smoothstep(points[:, 1], 7.30, 7.385)
    paint.albedo[eye] = colour * lid_shade[:, None]
    paint.gloss[eye], paint.hardness[eye] = 0.22, 350

    lash = surface.material == Material.LASH
    paint.albedo[lash], paint.gloss[lash] = 0.012, 0
