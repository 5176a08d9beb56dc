"""Light on paint: grooves and pores bend the normals, then diffuse light and highlights."""

import numpy as np

from face2exp_lib.faces.assets import Material
from face2exp_lib.faces.geometry import dot, normalise, transform
from face2exp_lib.faces.identity import Identity
from face2exp_lib.faces.noise import noise
from face2exp_lib.faces.paint import Paint
from face2exp_lib.faces.scene import Scene
from face2exp_lib.faces.surface import Surface
from face2exp_lib.faces.wrinkles import ATLAS_SIZE, X_RANGE, Y_RANGE, groove_map

# Light bleeds through skin past the shadow's edge, red furthest.
SKIN_WRAP = np.array([0.30, 0.12, 0.07], np.float32)
SKIN_SHADOW_POWER = np.array([0.72, 1.0, 1.06], np.float32)
OPENNESS_POWER = np.array([0.85, 1.0, 1.05], np.float32)
DIFFUSE, AMBIENT = 0.62, 0.42


def wrinkle(
    surface: Surface, identity: Identity, weights: dict[str, float], turn: np.ndarray
) -> None:
    """Bend normals by folds, pores and hair strands, and darken the folds; in place."""
    points = surface.template
    x, y, z = points.T
    skin = surface.material == Material.BODY
    folded = (
        skin & (z > 0.75) & (np.abs(x) < X_RANGE[1] - 0.01)
        & (y > Y_RANGE[0] + 0.01) & (y < Y_RANGE[1] - 0.01)
    )  # fmt: skip
    grooves = groove_map(weights, identity.age, identity.wrinkle_depth)
    last = ATLAS_SIZE - 1
    step_x, step_y = ((high - low) / last for low, high in (X_RANGE, Y_RANGE))
    slope_y, slope_x = np.gradient(grooves, step_y, step_x)
    column = np.clip((x[folded] - X_RANGE[0]) / step_x + 0.5, 0, last).astype(int)
    row = np.clip((y[folded] - Y_RANGE[0]) / step_y + 0.5, 0, last).astype(int)
    tilt = np.zeros_like(points)
    tilt[folded, 0] = slope_x[row, column]
    tilt[folded, 1] = slope_y[row, column]
    surface.openness[folded] *= 1 - np.clip(grooves[row, column] * 22, 0, 0.35)

    pores = np.stack([noise(points, 48.0, offset) for offset in (3.0, 17.0, 31.0)], 1)
    rough = pores * (0.035 + 0.05 * identity.age) * skin[:, None]
    strip = surface.material == Material.HAIR
    if strip.any():
        rough[strip] += 0.35 * noise(points[strip], 40.0, 5.0, stretch=(1, 0.15, 1))[:, None]
    surface.normal = normalise(surface.normal + transform(tilt, turn) + rough)


def shade(paint: Paint, surface: Surface, scene: Scene) -> np.ndarray:
    """(n, 3) float32 light that reaches the camera, linear."""
    normal, view = surface.normal, surface.view
    is_skin = (surface.material == Material.BODY)[:, None]
    teeth = surface.material == Material.TEETH
    eye = surface.material == Material.EYE
    # Wet teeth and eyes pass light on inside; without a floor they would look dead.
    key_part = np.where(teeth, np.maximum(surface.key_part, 0.45), surface.key_part)
    key_part = np.where(eye, 0.35 + 0.65 * key_part, key_part)
    openness = np.clip(np.where(teeth, np.maximum(surface.openness, 0.6), surface.openness), 0, 1)
    floor = (0.8 * teeth + 0.9 * eye)[:, None] * (scene.sky + scene.ground)
    irradiance = np.maximum(surface.irradiance, floor)

    facing = dot(normal, scene.key_direction)
    wrap = SKIN_WRAP * is_skin
    diffuse = np.clip((facing[:, None] + wrap) / (1 + wrap), 0, 1) ** (1 + 0.3 * is_skin)
    arriving = np.where(
        is_skin, np.clip(key_part, 0, 1)[:, None] ** SKIN_SHADOW_POWER, key_part[:, None]
    )
    ambient = irradiance * (0.35 + 0.65 * openness[:, None] ** OPENNESS_POWER)
    colour = paint.albedo * (DIFFUSE * diffuse * arriving * scene.key + AMBIENT * ambient)

    half = normalise(scene.key_direction + view)
    towards = np.clip((normal * half).sum(1), 0, 1)
    fresnel = 0.04 + 0.96 * (1 - np.clip((view * half).sum(1), 0, 1)) ** 5
    lit = np.clip(facing, 0, 1) * key_part * paint.gloss
    sharp = towards**paint.hardness * (paint.hardness + 2) / 8 * fresnel * 1.6
    broad = towards ** (paint.hardness * 0.35) * 0.06
    across = (normal * view).sum(1)
    rim = (1 - np.clip(across, 0, 1)) ** 4 * 0.16 * openness * paint.gloss
    upward = 2 * across * normal[:, 1] - view[:, 1]  # of the mirrored view
    upward = np.clip(upward * 0.5 + 0.5, 0, 1)[:, None]
    surroundings = scene.ground * (1 - upward) + scene.sky * upward
    colour += ((sharp + broad) * lit)[:, None] * scene.key
    colour += (rim + 0.035 * paint.gloss * openness)[:, None] * surroundings
    return colour.astype(np.float32)
