"""Layers of hair: beard, brows, the hair that lies on the scalp, locks.

Places are template coordinates in decimetres (see `head.Head.vertices`), so a brow moves with its
skin. Each layer is worked out only where it may show.
"""

import numpy as np

from face2exp_lib.rendering.assets import Material, look_up
from face2exp_lib.rendering.geometry import gaussian, smoothstep
from face2exp_lib.rendering.hair_styles import HAIR_STYLES
from face2exp_lib.rendering.identity import Identity
from face2exp_lib.rendering.locks import CROWN
from face2exp_lib.rendering.noise import noise
from face2exp_lib.rendering.paint import Paint
from face2exp_lib.rendering.skull import NAPE_Y
from face2exp_lib.rendering.surface import Surface

BROW_START_X, BROW_LENGTH, BROW_Y, BROW_HALF_WIDTH = 0.095, 0.48, 7.505, 0.036
# Along a brow, 0 at the inner end and 1 at the tail: relative width, and the lean of its hairs
# against the brow's line (radians): upright at the inner end, flat at the tail.
BROW_AT = (-0.1, 0.0, 0.15, 0.6, 1.0, 1.1)
BROW_WIDTH = (0.5, 0.9, 1.0, 0.85, 0.32, 0.1)
BROW_LEAN = (1.35, 1.2, 0.75, 0.35, 0.1, 0.0)

# Shortest hair hides only a part of the scalp's skin.
SCALP_COVER = {"bald": 0.16, "buzz": 0.8, "receding": 0.9}
SCALP_GLOSS, SCALP_HARDNESS = 0.10, 12.0
LOCK_GLOSS, LOCK_HARDNESS = 0.13, 14.0
PARTING_WIDTH = 0.022  # decimetres
BEARD_OPACITY = {"stubble": 0.5, "moustache": 0.95, "goatee": 0.95, "full": 0.95}


def part_of(mask: np.ndarray, where: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(n,) float32: `values` where the mask (n,) holds, 0 elsewhere."""
    whole = np.zeros(len(where), np.float32)
    whole[where] = values * mask[where]
    return whole


def beard_density(points: np.ndarray, kind: str) -> np.ndarray:
    """(n,) 0 to 1 at template points (n, 3): how closely a beard of this kind grows there."""
    x, y, z = points.T
    side = np.abs(x)
    # Densest on moustache, chin and jaw line; thin under the lip's corners and on the cheek.
    moustache = (
        gaussian(y - (6.775 - 0.30 * np.clip(side - 0.05, 0, 1)), 0.075)
        * (1 - smoothstep(side, 0.24, 0.36))
        * (1 - 0.75 * gaussian(x, 0.035))
    )
    beside_mouth = gaussian(side - 0.315, 0.075) * smoothstep(y, 6.30, 6.42)
    beside_mouth = beside_mouth * (1 - smoothstep(y, 6.64, 6.76))
    chin = gaussian(x, 0.27) * (1 - smoothstep(y, 6.42, 6.54)) * smoothstep(y, 6.02, 6.20)
    soul_patch = gaussian(x, 0.055) * gaussian(y - 6.49, 0.06)
    cheek_line = 6.52 + 0.62 * np.clip(side - 0.30, 0, 0.55)
    jaw = 1 - smoothstep(y, cheek_line - 0.10, cheek_line + 0.16)
    jaw = jaw * smoothstep(z, 0.38, 0.60) * smoothstep(y, 6.08, 6.36)
    sideburn = smoothstep(side, 0.66, 0.74) * gaussian(z - 0.66, 0.13)
    sideburn = sideburn * (1 - smoothstep(y, 7.2, 7.45)) * smoothstep(y, 6.4, 6.6)
    goatee = np.maximum.reduce([moustache, 0.9 * beside_mouth, chin, 0.8 * soul_patch])
    whole = np.maximum.reduce([goatee, 0.85 * jaw, 0.8 * sideburn])
    density = {"stubble": whole, "moustache": moustache, "goatee": goatee, "full": whole}[kind]
    throat = (1 - smoothstep(y, 6.12, 6.40)) * (1 - smoothstep(z, 0.95, 1.25))
    return density * (1 - 0.85 * throat)


def paint_beard(paint: Paint, surface: Surface, identity: Identity, bare_skin: np.ndarray) -> None:
    """Stubble, moustache, goatee or full beard, of short hairs that hang down."""
    if identity.beard_kind == "none":
        return
    x, y, z = surface.template.T
    where = (bare_skin > 0.02) & (z > 0.3) & (y > 5.9) & (y < 7.5)
    points, offset = surface.template[where], identity.texture_offset
    density = beard_density(points, identity.beard_kind)
    uneven = noise(points, 9.0, offset + 2)
    if identity.beard_kind == "stubble":
        hairs = noise(points, 100.0, offset, stretch=(1, 0.7, 1))
        cover = density * (0.45 + 0.25 * uneven * (1 - density)) + 0.35 * hairs * density
    else:
        hairs = 0.6 * noise(points, 105.0, offset, stretch=(1, 0.25, 0.6))
        hairs += 0.4 * noise(points, 48.0, offset + 7, stretch=(1, 0.25, 0.6))
        cover = smoothstep(density * (1 + 0.8 * hairs * (1.3 - density) + 0.2 * uneven), 0.08, 0.95)
        cover = cover * np.clip(0.88 + 0.3 * hairs, 0, 1)
    cover = cover * BEARD_OPACITY[identity.beard_kind] * identity.beard
    mouth = look_up("inside_mouth", surface.uv[where])
    mask = part_of(bare_skin, where, np.clip(cover * (1 - mouth), 0, 1))
    shine = np.ones(len(x), np.float32)
    shine[where] += 0.35 * hairs
    paint.cover(mask, identity.brow_albedo * shine[:, None])
    paint.gloss *= 1 - 0.7 * mask


def paint_brows(paint: Paint, surface: Surface, identity: Identity, skin: np.ndarray) -> None:
    """Two brows of short hairs, upright and dense at the inner end, flat and thin at the tail."""
    x, y, z = surface.template.T
    where = (z > 0.9) & (y > BROW_Y - 0.25) & (y < BROW_Y + 0.25) & (skin > 0)
    x, y = x[where], y[where]
    along = (np.abs(x) - BROW_START_X) / BROW_LENGTH
    arch = np.sin(np.pi * np.clip(along, 0, 1) ** 1.25) * 0.055
    tail = np.clip(along - 0.6, 0, 1) / 0.4 * 0.035
    above = y - (BROW_Y + identity.brow_height + identity.brow_arch * (arch - tail))
    width = np.interp(along, BROW_AT, BROW_WIDTH).astype(np.float32)
    off_line = above / (BROW_HALF_WIDTH * identity.brow_thickness * width)
    # A hair's lean fades from the lower edge, where hairs rise, to the upper, where they dip.
    lean = np.interp(along, BROW_AT, BROW_LEAN) * np.clip(0.7 - 0.6 * off_line, -0.5, 1.3)
    cos, sin = np.cos(lean), np.sin(lean)
    run = np.abs(x) * cos + above * sin
    cross = above * cos - np.abs(x) * sin
    place = np.stack([cross, run, np.sign(x)], 1).astype(np.float32)
    hairs = 0.7 * noise(place, 90.0, identity.texture_offset, stretch=(1, 0.13, 1))
    hairs += 0.5 * noise(place, 48.0, identity.texture_offset + 5, stretch=(1, 0.2, 1))
    density = np.exp(-(np.abs(off_line) ** 2.0) * 0.9)
    density = density * smoothstep(along, -0.12, 0.10) * (1 - smoothstep(along, 0.72, 1.08))
    brow = smoothstep(density * (0.95 + hairs * (1.35 - density)), 0.08, 0.95)
    brow = part_of(skin, where, np.clip(brow * identity.brow_opacity, 0, 1))
    paint.cover(brow, identity.brow_albedo)
    paint.gloss *= 1 - 0.7 * brow


def combed(points: np.ndarray, comb: str, parting: float) -> np.ndarray:
    """(n, 3) place in the combed hair: across the strands, along them, and depth; decimetres."""
    x, y, z = points.T
    if comb == "crown":
        across = 0.8 * np.arctan2(x - CROWN[0], z - CROWN[2])
        along = CROWN[1] - y + 0.5 * np.hypot(x - CROWN[0], z - CROWN[2])
    elif comb == "part":
        across, along = z, np.abs(x - parting) + CROWN[1] - y
    else:
        across, along = 0.9 * np.arctan2(x, y - 7.3), -z
    return np.stack([across, along, 0 * x], 1).astype(np.float32)


def paint_scalp(paint: Paint, surface: Surface, identity: Identity, hair_skin: np.ndarray) -> None:
    """Hair that lies on the head, combed as its style is, with a soft, uneven hair line."""
    where = (hair_skin > 0) & (surface.hair_height > -0.16) & (surface.template[:, 1] > NAPE_Y)
    points, offset = surface.template[where], identity.texture_offset
    x, y, z = points.T
    name, style = identity.hair_style, HAIR_STYLES[identity.hair_style]
    if name in ("bald", "buzz"):
        strands = noise(points, 100.0, offset, stretch=(1, 0.7, 1))
        waves = np.zeros_like(strands)
    elif name in ("curly", "afro"):
        strands = 0.6 * noise(points, 40.0, offset + 3) + 0.6 * noise(points, 90.0, offset + 5)
        waves = noise(points, 14.0, offset)
    else:
        place = combed(points, style.comb, identity.parting)
        place[:, 0] += (0.02 + 0.5 * style.wave) * noise(points, 3.0, offset)
        waves = 0.6 * noise(place, 12.0, offset, stretch=(1, 0.10, 1))
        waves += 0.4 * noise(place, 34.0, offset + 1, stretch=(1, 0.06, 1))
        strands = noise(place, 80.0, offset + 3, stretch=(1, 0.09, 1))
    uneven = noise(points, 5.0, offset + 6)
    height = surface.hair_height[where] + 0.06 * uneven
    density = smoothstep(height, -0.07, 0.22)
    if name == "bald":  # a shadow of hair around the bare crown
        density = density * (1 - smoothstep(y + 0.1 * uneven, 7.75, 8.05))
    if name == "receding":
        density = density * (1 - 0.45 * smoothstep(y + 0.1 * uneven, 8.0, 8.4))
    if style.comb == "part":
        on_top = smoothstep(z, -0.3, 0.0) * smoothstep(y, 7.9, 8.1)
        gap = gaussian(x - identity.parting + 0.012 * uneven, PARTING_WIDTH)
        density = density * (1 - 0.75 * gap * on_top)
    edge = 4 * density * (1 - density)
    cover = smoothstep(density + edge * (0.28 * strands + 0.05 * waves), 0.16, 0.80)
    cover = cover * SCALP_COVER.get(name, 1.0) * (1 - 0.12 * (strands < -0.4))
    mask = part_of(hair_skin, where, np.clip(cover, 0, 1))
    light = np.ones(len(hair_skin), np.float32)
    light[where] = np.clip(0.82 + 0.42 * waves + 0.26 * strands, 0.25, 1.7)
    paint.cover(mask, identity.hair_albedo * light[:, None])
    paint.gloss = paint.gloss * (1 - mask) + SCALP_GLOSS * light * mask
    paint.hardness = paint.hardness * (1 - mask) + SCALP_HARDNESS * mask


def paint_locks(paint: Paint, surface: Surface, identity: Identity) -> None:
    """Locks: strands that run along them, dark at the root and in the gaps between locks."""
    lock = surface.material == Material.HAIR
    if not lock.any():
        return
    points, offset = surface.template[lock], identity.texture_offset
    across, along = surface.uv[lock].T
    strands = 0.5 * noise(points, 38.0, offset, stretch=(1, 0.06, 1))
    strands += 0.5 * noise(points, 95.0, offset, stretch=(1, 0.04, 1))
    # Each lock has a shade of its own: which lock it is comes as a number in `Locks.grain`.
    own = 0.8 + 0.4 * ((points[:, 2] * 7.31) % 1)
    rounded = 1 - 0.5 * np.abs(2 * across - 1) ** 3
    from_root = 0.55 + 0.45 * smoothstep(along, 0.0, 0.35)
    light = np.clip((1 + 0.5 * strands) * own * rounded * from_root, 0.2, 1.9)
    paint.albedo[lock] = identity.hair_albedo * light[:, None]
    paint.gloss[lock], paint.hardness[lock] = LOCK_GLOSS * light, LOCK_HARDNESS
