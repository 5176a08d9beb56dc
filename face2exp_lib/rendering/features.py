"""Layers that are not skin: clothes, the inside of the mouth, eyes and lashes."""

import numpy as np

from face2exp_lib.rendering.assets import Material, look_up
from face2exp_lib.rendering.geometry import gaussian, normalise, smoothstep
from face2exp_lib.rendering.head import EYE_CENTRES
from face2exp_lib.rendering.identity import Identity
from face2exp_lib.rendering.paint import Paint
from face2exp_lib.rendering.surface import Surface

IRIS_RADIUS = 0.47  # radians, seen from the centre of the eyeball
CATCH_LIGHT = 0.9  # gloss of the cornea beyond that of the white
# Teeth, decimetres on the template.
BITE_Y, UPPER_GUM_Y, LOWER_GUM_Y = 6.62, 6.70, 6.50
UPPER_TOOTH_WIDTH, LOWER_TOOTH_WIDTH = 0.085, 0.056
ENAMEL = np.array([0.90, 0.87, 0.79], np.float32)
GUM = np.array([0.42, 0.16, 0.16], np.float32)


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
    inside = look_up("inside_mouth", surface.uv) * (surface.material == Material.BODY)
    depth = 0.12 + 0.88 * smoothstep(surface.template[:, 2], 1.25, 1.52)
    paint.cover(inside, np.array([0.33, 0.09, 0.085], np.float32) * depth[:, None])
    paint.gloss *= 1 - 0.5 * inside

    teeth = surface.material == Material.TEETH
    x, y, z = surface.template[teeth].T
    upper = y > BITE_Y
    # Position along the arch in teeth, 0 on the midline; lower incisors are narrower.
    along = np.abs(x) / np.where(upper, UPPER_TOOTH_WIDTH, LOWER_TOOTH_WIDTH)
    from_gap = np.abs((along - np.where(upper, 0, 0.5)) % 1 - 0.5)  # 0.5 between two teeth
    gum_line = np.where(upper, UPPER_GUM_Y, LOWER_GUM_Y) + 0.02 * np.where(upper, 1, -1) * (
        1 - (2 * from_gap) ** 2
    )
    towards_gum = np.where(upper, y - gum_line, gum_line - y)
    gap = smoothstep(from_gap, 0.40, 0.5) * (0.25 + 0.3 * smoothstep(towards_gum, -0.06, 0.0))
    deep = 0.08 + 0.92 * smoothstep(z, 1.27, 1.45)
    enamel = ENAMEL * ((1 - gap) * identity.teeth_brightness * deep)[:, None]
    in_gum = smoothstep(towards_gum, -0.008, 0.008)[:, None]
    paint.albedo[teeth] = enamel * (1 - in_gum) + GUM * deep[:, None] * in_gum
    paint.gloss[teeth], paint.hardness[teeth] = 0.5, 40

    tongue = surface.material == Material.TONGUE
    shade = 0.35 + 0.65 * smoothstep(surface.template[tongue, 2], 1.0, 1.38)
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
    fibres += 0.12 * np.sin(around * 61 + 2 * np.sin(around * 9))
    radial = 0.75 + 0.6 * smoothstep(off_axis, 0.2, 0.42)
    limbus = 1 - 0.75 * smoothstep(off_axis, IRIS_RADIUS - 0.09, IRIS_RADIUS)
    iris = identity.iris_albedo * (fibres * radial * limbus)[:, None]
    veins = 0.25 * np.outer(smoothstep(off_axis, 0.75, 1.25), np.array([0.1, 0.9, 0.9]))
    white = np.array([0.68, 0.65, 0.62]) * (1 - 0.15 * smoothstep(off_axis, 0.7, 1.2))[:, None]
    in_iris = smoothstep(-off_axis, -IRIS_RADIUS - 0.02, -IRIS_RADIUS + 0.03)[:, None]
    pupil = identity.pupil_radius
    in_pupil = smoothstep(-off_axis, -pupil - 0.03, -pupil + 0.02)[:, None]
    colour = white * (1 - veins) * (1 - in_iris) + iris * in_iris
    colour = colour * (1 - in_pupil) + 0.008 * in_pupil
    lid_shade = 1 - 0.5 * smoothstep(points[:, 1], 7.30, 7.385)
    paint.albedo[eye] = colour * lid_shade[:, None]
    # The cornea bulges and mirrors the main light as a spot; the white is merely wet.
    cornea = in_iris[:, 0]
    paint.gloss[eye] = 0.3 + CATCH_LIGHT * cornea
    paint.hardness[eye] = 350 + 250 * cornea

    lash = surface.material == Material.LASH
    paint.albedo[lash], paint.gloss[lash] = 0.012, 0
