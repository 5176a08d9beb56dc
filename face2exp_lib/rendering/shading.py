"""Light on paint: grooves and pores bend the normals, then diffuse light and highlights."""

import numpy as np

from face2exp_lib.rendering.assets import Material, by_material
from face2exp_lib.rendering.compiled import compile_loop
from face2exp_lib.rendering.identity import Identity
from face2exp_lib.rendering.noise import noise
from face2exp_lib.rendering.paint import Paint
from face2exp_lib.rendering.scene import Scene
from face2exp_lib.rendering.surface import Surface
from face2exp_lib.rendering.wrinkles import ATLAS_SIZE, X_RANGE, Y_RANGE

# Folds show on the front of the face only, and not on the last texels of the atlas (decimetres).
FOLDS_FROM_Z, ATLAS_MARGIN = 0.75, 0.01
FOLD_DARKENING, DARKEST_FOLD = 22, 0.35  # part of openness lost per decimetre of depth, at most
PORE_FREQUENCY, PORE_OFFSETS = 48.0, (3.0, 17.0, 31.0)
PORE_TILT, PORE_TILT_BY_AGE = 0.035, 0.05
STRAND_FREQUENCY, STRAND_OFFSET, STRAND_TILT = 40.0, 5.0, 0.35

IS_SKIN = by_material({Material.BODY: True, Material.HAND: True}, False)
HAS_FOLDS = by_material({Material.BODY: True}, False)
# Wet teeth and eyes pass light on inside; without a floor they would look dead. Hair lets some
# through to its inner side.
KEY_FLOOR = by_material({Material.TEETH: 0.45}, 0.0)
KEY_INSIDE = by_material({Material.EYE: 0.35}, 0.0)
OPENNESS_FLOOR = by_material({Material.TEETH: 0.6}, 0.0)
# Part of sky and ground light.
AMBIENT_FLOOR = by_material({Material.TEETH: 1.2, Material.EYE: 0.6, Material.HAIR: 0.2}, 0.0)

# Light bleeds through skin past the shadow's edge, red furthest.
SKIN_WRAP = (0.30, 0.12, 0.07)
SKIN_DIFFUSE_POWER = 1.3
SKIN_SHADOW_POWER = (0.72, 1.0, 1.06)
OPENNESS_POWER = (0.85, 1.0, 1.05)
DIFFUSE, AMBIENT = 0.62, 0.42
CLOSED_AMBIENT = 0.35  # part of the ambient light that reaches the deepest fold
FRESNEL_AHEAD = 0.04  # reflectance of skin, teeth and cloth seen straight on
SHARP, BROAD, BROAD_HARDNESS = 1.6, 0.06, 0.35  # the two lobes of a highlight
RIM, MIRROR = 0.16, 0.035  # reflection of the surroundings at the edge and everywhere


@compile_loop
def _fold(points, material, has_folds, grooves, low, step, turn, normal, openness):  # type: ignore[no-untyped-def]
    """Tilt normals by the slope of the grooves, and darken the grooves; normals keep no length."""
    last = grooves.shape[0] - 1
    high_x, high_y = low[0] + step[0] * last, low[1] + step[1] * last
    for i in range(points.shape[0]):
        x, y = points[i, 0], points[i, 1]
        if (
            not has_folds[material[i]]
            or points[i, 2] <= FOLDS_FROM_Z
            or not low[0] + ATLAS_MARGIN < x < high_x - ATLAS_MARGIN
            or not low[1] + ATLAS_MARGIN < y < high_y - ATLAS_MARGIN
        ):
            continue
        column = int((x - low[0]) / step[0] + 0.5)
        row = int((y - low[1]) / step[1] + 0.5)
        slope_x = (grooves[row, column + 1] - grooves[row, column - 1]) / (2 * step[0])
        slope_y = (grooves[row + 1, column] - grooves[row - 1, column]) / (2 * step[1])
        for axis in range(3):
            normal[i, axis] += slope_x * turn[axis, 0] + slope_y * turn[axis, 1]
        openness[i] *= 1 - min(max(grooves[row, column] * FOLD_DARKENING, 0.0), DARKEST_FOLD)


@compile_loop
def _roughen(normal, material, is_skin, pores, pore_tilt, strands, is_strand):  # type: ignore[no-untyped-def]
    """Tilt normals by pores and strands, and give them length 1."""
    strand = 0
    for i in range(normal.shape[0]):
        x, y, z = normal[i, 0], normal[i, 1], normal[i, 2]
        if is_skin[material[i]]:
            x += pores[0, i] * pore_tilt
            y += pores[1, i] * pore_tilt
            z += pores[2, i] * pore_tilt
        if is_strand[i]:
            tilt = strands[strand] * STRAND_TILT
            x, y, z = x + tilt, y + tilt, z + tilt
            strand += 1
        length = np.sqrt(x * x + y * y + z * z)
        normal[i, 0], normal[i, 1], normal[i, 2] = x / length, y / length, z / length


def wrinkle(surface: Surface, identity: Identity, grooves: np.ndarray, turn: np.ndarray) -> None:
    """Bend normals by folds, pores and hair strands, and darken the folds; in place.

    Args:
        surface: `normal` and `openness` are changed.
        identity: whose age shows.
        grooves: see `wrinkles.groove_map`.
        turn: (3, 3) rotation of the head.
    """
    points = surface.template
    low = (X_RANGE[0], Y_RANGE[0])
    step = tuple((high - low) / (ATLAS_SIZE - 1) for low, high in (X_RANGE, Y_RANGE))
    _fold(
        points, surface.material, HAS_FOLDS, grooves, low, step, turn,
        surface.normal, surface.openness,
    )  # fmt: skip
    pores = np.stack([noise(points, PORE_FREQUENCY, offset) for offset in PORE_OFFSETS])
    is_strand = surface.material == Material.HAIR
    strands = noise(points[is_strand], STRAND_FREQUENCY, STRAND_OFFSET, stretch=(1, 0.15, 1))
    tilt = PORE_TILT + PORE_TILT_BY_AGE * identity.age
    _roughen(surface.normal, surface.material, IS_SKIN, pores, tilt, strands, is_strand)


@compile_loop
def _power(base, exponent):  # type: ignore[no-untyped-def]
    """In single precision, which is three times as fast; most bases are 0 or 1."""
    if base <= 0:
        return np.float32(0)
    if base >= 1:
        return np.float32(1)
    return np.float32(base) ** np.float32(exponent)


@compile_loop
def _shade(  # type: ignore[no-untyped-def]
    albedo, gloss, hardness, material, normal, view, irradiance, openness, key_part,
    is_skin, key_floor, key_inside, openness_floor, ambient_floor,
    towards_key, key, sky, ground, light,
):  # fmt: skip
    for i in range(material.shape[0]):
        m = material[i]
        x, y, z = normal[i, 0], normal[i, 1], normal[i, 2]
        view_x, view_y, view_z = view[i, 0], view[i, 1], view[i, 2]
        arriving = max(key_part[i], key_floor[m])
        arriving = key_inside[m] + (1 - key_inside[m]) * arriving
        free = min(max(openness[i], openness_floor[m]), 1.0)
        facing = x * towards_key[0] + y * towards_key[1] + z * towards_key[2]

        # Highlight of the main light: Blinn-Phong, a sharp lobe and a broad one.
        highlight = 0.0
        if facing > 0 and arriving > 0 and gloss[i] > 0:
            half_x = towards_key[0] + view_x
            half_y = towards_key[1] + view_y
            half_z = towards_key[2] + view_z
            length = np.sqrt(half_x * half_x + half_y * half_y + half_z * half_z)
            towards = (x * half_x + y * half_y + z * half_z) / length
            across = (view_x * half_x + view_y * half_y + view_z * half_z) / length
            fresnel = FRESNEL_AHEAD + (1 - FRESNEL_AHEAD) * (1 - min(max(across, 0.0), 1.0)) ** 5
            sharp = _power(towards, hardness[i]) * (hardness[i] + 2) / 8 * fresnel * SHARP
            broad = _power(towards, hardness[i] * BROAD_HARDNESS) * BROAD
            highlight = (sharp + broad) * min(facing, 1.0) * arriving * gloss[i]

        # The surroundings, mirrored.
        across = x * view_x + y * view_y + z * view_z
        rim = (1 - min(max(across, 0.0), 1.0)) ** 4 * RIM
        mirrored = (rim + MIRROR) * free * gloss[i]
        upward = min(max((2 * across * y - view_y) * 0.5 + 0.5, 0.0), 1.0)

        for channel in range(3):
            if is_skin[m]:
                wrap = SKIN_WRAP[channel]
                diffuse = _power((facing + wrap) / (1 + wrap), SKIN_DIFFUSE_POWER)
                diffuse *= _power(arriving, SKIN_SHADOW_POWER[channel])
            else:
                diffuse = min(max(facing, 0.0), 1.0) * arriving
            floor = ambient_floor[m] * (sky[channel] + ground[channel])
            around = max(irradiance[i, channel], floor)
            around *= CLOSED_AMBIENT + (1 - CLOSED_AMBIENT) * _power(free, OPENNESS_POWER[channel])
            scattered = DIFFUSE * diffuse * key[channel] + AMBIENT * around
            surroundings = ground[channel] * (1 - upward) + sky[channel] * upward
            light[i, channel] = (
                albedo[i, channel] * scattered + highlight * key[channel] + mirrored * surroundings
            )


def shade(paint: Paint, surface: Surface, scene: Scene) -> np.ndarray:
    """(n, 3) float32 light that reaches the camera, linear."""
    light = np.empty((len(surface.material), 3), np.float32)
    _shade(
        paint.albedo, paint.gloss, paint.hardness,
        surface.material, surface.normal, surface.view, surface.irradiance,
        surface.openness, surface.key_part,
        IS_SKIN, KEY_FLOOR, KEY_INSIDE, OPENNESS_FLOOR, AMBIENT_FLOOR,
        scene.key_direction, scene.key, scene.sky, scene.ground, light,
    )  # fmt: skip
    return light
