"""Hair on a head: where it grows, how it lifts the scalp, how its locks are fitted."""

from dataclasses import replace

import numpy as np

from face2exp_lib.rendering.assets import Material
from face2exp_lib.rendering.geometry import smoothstep, vertex_normals
from face2exp_lib.rendering.head import Head
from face2exp_lib.rendering.identity import Identity
from face2exp_lib.rendering.locks import Locks, grow_locks
from face2exp_lib.rendering.noise import noise
from face2exp_lib.rendering.skull import NAPE_Y, above_hairline

FULL_HEIGHT = 0.3  # decimetres above the hair line where hair reaches its full thickness
# Parts by which hair stands higher on the crown and lower at the nape.
CROWN_RISE, NAPE_THINNING = 0.3, 0.7
LOOSE_LIFT = 0.25  # part of the thickness that locks keep where they leave the scalp
LOCK_CLEARANCE = 0.012  # decimetres above the skin at least
LOCK_MARGIN = 0.03  # a lock is rooted at least this far above the hair line


def height_above_hairline(template: np.ndarray, identity: Identity) -> np.ndarray:
    """(n,) decimetres above this person's hair line; hair grows where it is positive."""
    x, _, z = template.T
    recession = identity.hairline_recession
    temples = smoothstep(np.abs(x), 0.22, 0.55) * smoothstep(z, 0.6, 0.9) * recession * 1.6
    return (
        above_hairline(template)
        - identity.hairline_shift
        - recession * smoothstep(z, 0.4, 1.0)
        - temples
    )


def scalp_coverage(head: Head, height: np.ndarray) -> np.ndarray:
    """(V,) float32: 1 where hair covers the head in full, 0 on face, ears and neck."""
    off_ears = 1 - np.clip(head.ear * 3, 0, 1)
    above_nape = head.vertices[:, 1] > NAPE_Y
    return (smoothstep(height, 0.0, FULL_HEIGHT) * head.is_body * off_ears * above_nape).astype(
        np.float32
    )


def hair_lift(head: Head, identity: Identity, coverage: np.ndarray) -> np.ndarray:
    """(V,) decimetres that combed hair stands above the skull; a hat has to leave this room."""
    lumps = 1 + 0.2 * noise(head.vertices, 1.6, identity.texture_offset)
    lift = identity.hair_thickness * coverage * np.clip(lumps, 0.3, 1.8)
    return (lift * relative_thickness(head.vertices[:, 1])).astype(np.float32)


def relative_thickness(y: np.ndarray) -> np.ndarray:
    """(n,) factor on hair's thickness at template heights: more on the crown, less at the nape."""
    crown = 1 + CROWN_RISE * smoothstep(y, 7.9, 8.4)
    return crown * (1 - NAPE_THINNING * (1 - smoothstep(y, 6.7, 7.6)))


def style_hair(
    head: Head, identity: Identity, vertices: np.ndarray, coverage: np.ndarray
) -> np.ndarray:
    """Lift the scalp by the hair's thickness; returns new (V, 3) vertices."""
    outward = vertex_normals(vertices, head.triangles[head.material == Material.BODY])
    return vertices + outward * hair_lift(head, identity, coverage)[:, None]


def fit_locks(head: Head, identity: Identity, rest: np.ndarray) -> Locks | None:
    """The locks of a person's style on the resting head (V, 3); None where there are none."""
    side = -1.0 if identity.parting < 0 else 1.0
    locks = grow_locks(
        identity.hair_style, identity.hair_variant, abs(identity.parting), identity.fringe
    )
    if locks is None:
        return None
    mirror = np.array([side, 1, 1], np.float32)
    root = locks.root * mirror
    rooted = height_above_hairline(root, identity) > LOCK_MARGIN
    follow = rest - head.vertices
    # A mirrored lock takes the shape of the other side: faces are near even.
    moved = (follow[locks.neighbours] * locks.weights[..., None]).sum(1)
    # Where it lies on the skull, a lock lies on the combed hair; where it hangs, it keeps off.
    hanging = 1 - smoothstep(locks.vertices[:, 1], 6.9, 7.3)
    lying = smoothstep(height_above_hairline(locks.vertices * mirror, identity), 0.0, FULL_HEIGHT)
    lying = lying * relative_thickness(locks.vertices[:, 1])
    lying = LOOSE_LIFT + (1 - LOOSE_LIFT) * lying
    lift = LOCK_CLEARANCE + identity.hair_thickness * np.maximum(hanging, lying)
    vertices = locks.vertices + moved + locks.outward * lift[:, None].astype(np.float32)
    drawn = rooted[locks.triangles[:, 0]]
    turn = int(side)  # a mirror turns triangles inside out: run through their corners backwards
    return replace(
        locks,
        vertices=vertices * mirror,
        outward=locks.outward * mirror,
        root=root,
        triangles=locks.triangles[drawn, ::turn],
        uv=locks.uv[drawn, ::turn],
    )
