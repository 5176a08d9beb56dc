"""Hats: caps, beanies and brimmed hats, fitted to a skull; the hair beneath is pressed flat."""

from dataclasses import dataclass

import numpy as np

from face2exp_lib.rendering.assets import Material
from face2exp_lib.rendering.geometry import smoothstep, transform
from face2exp_lib.rendering.head import Head
from face2exp_lib.rendering.identity import Identity
from face2exp_lib.rendering.noise import noise
from face2exp_lib.rendering.paint import Paint
from face2exp_lib.rendering.prop import Prop, lattice_triangles
from face2exp_lib.rendering.surface import Surface

COLUMNS, CROWN_ROWS, BRIM_ROWS = 64, 14, 5
EAR_MASK = 0.1  # of `Head.ear`: what is not skull
FOREHEAD = (0.0, 7.85, 1.473)  # template point under the front of the rim
SLACK = 1.03  # cloth does not touch the skull
HAIR_REACH = 0.96  # hair ends inside the cloth, as a part of the way from the centre
HAIR_ROOM = 0.25  # of the hair's thickness, by which a hat is wider
PRESSED_BELOW = 0.10  # decimetres under the rim over which hair regains its thickness
TEMPLATE_OFFSET = np.array([0, -80, 0], np.float32)
VISOR_HALF_ANGLE = np.radians(68)
NUM_PANELS = 6  # of a cap
NUM_RIBS = 62  # of a beanie
CUFF_HEIGHT, BAND_HEIGHT = 0.26, 0.14
BRIM_V = -1.0  # second texture coordinate of brims; crowns have 0 at the rim to 1 at the top

CLOTHS = np.array([
    [0.015, 0.016, 0.02], [0.03, 0.045, 0.10], [0.16, 0.16, 0.165], [0.33, 0.03, 0.035],
    [0.05, 0.09, 0.05], [0.32, 0.26, 0.18], [0.48, 0.46, 0.42], [0.10, 0.055, 0.03],
    [0.06, 0.16, 0.24], [0.42, 0.22, 0.05],
])  # fmt: skip
STRAWS = np.array([[0.52, 0.40, 0.22], [0.42, 0.31, 0.17], [0.58, 0.50, 0.36]])


@dataclass(frozen=True)
class Hat:
    """A hat. Lengths in decimetres.

    Attributes:
        kind: cap, beanie or brimmed_hat.
        raised: of the rim, over a line a little below the hair line.
        tilt: radians by which the rim rises from back to front.
        height: of the crown over that of the skull.
        boxiness: 0 a dome, towards 1 ever flatter on top.
        brim: its length, 0 for none; droop: of its edge; curl: of its sides, upward if positive.
        slouch: how far the top of the crown leans back.
        colours: (2, 3) reflectance of the crown, and of a visor, a cuff or a band.
        straw: whether it is plaited.
        offset: where in the noise lattice the cloth lies.
    """

    kind: str
    raised: float
    tilt: float
    height: float
    boxiness: float
    brim: float
    droop: float
    curl: float
    slouch: float
    colours: np.ndarray
    straw: bool
    offset: float

    def put_on(
        self, head: Head, identity: Identity, rest: np.ndarray, shaped: np.ndarray
    ) -> tuple[np.ndarray, Prop]:
        """The head with its hair pressed down, and the hat."""
        skin = np.flatnonzero(head.is_body)
        front = skin[((head.vertices[skin] - np.array(FOREHEAD)) ** 2).sum(1).argmin()]
        origin = rest[front] + np.array([0, self.raised, 0])
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        axes = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]], np.float32)
        back = np.ascontiguousarray(axes.T)

        def to_hat(points: np.ndarray) -> np.ndarray:
            """Across, up and forward of the rim's front."""
            return transform((points - origin).astype(np.float32), axes)

        skull = to_hat(rest[head.is_body & (head.ear < EAR_MASK)])
        skull = skull[skull[:, 1] > 0]
        low, high = skull.min(0), skull.max(0)
        centre = np.array([(low[0] + high[0]) / 2, 0, (low[2] + high[2]) / 2], np.float32)
        radii = np.array([high[0] - centre[0], high[1], high[2] - centre[2]])
        radii *= np.sqrt((((skull - centre) / radii) ** 2).sum(1).max()) * SLACK
        radii += HAIR_ROOM * identity.hair_thickness

        # Everything that would stick out of the crown is drawn in, less and less below the rim.
        local = to_hat(shaped) - centre
        x, y, z = local.T / radii[:, None]
        reach = np.sqrt(x**2 + np.clip(y, 0, None) ** 2 + z**2)
        excess = 1 - np.minimum(HAIR_REACH / np.maximum(reach, 1e-6), 1)
        part = excess * smoothstep(local[:, 1], -PRESSED_BELOW, 0.02)
        inward = local * part[:, None]
        inward[:, 1] *= local[:, 1] > 0
        pressed = shaped - transform(inward.astype(np.float32), back)

        vertices, triangles, uv = self._cloth(radii)
        vertices = vertices.astype(np.float32)
        placed = transform(vertices + centre, back) + origin
        return pressed.astype(np.float32), Prop(
            vertices=placed.astype(np.float32),
            template=vertices + TEMPLATE_OFFSET,
            triangles=triangles,
            triangle_uv=uv,
            material=np.full(len(triangles), int(Material.HAT), np.int32),
            lenses=np.empty((0, 3), np.int32),
        )

    def _cloth(self, radii: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Crown and brim about the middle of the rim: vertices, triangles, their coordinates."""
        around = 2 * np.pi * np.arange(COLUMNS) / COLUMNS  # 0 in front, then to the left
        level = np.linspace(0, 1, CROWN_ROWS)
        exponent = 1 - 0.6 * self.boxiness
        width = np.cos(np.pi / 2 * level)[:, None] ** exponent
        up = np.sin(np.pi / 2 * level)[:, None] ** (0.5 + 0.5 * exponent)
        top = radii[1] * self.height
        x = radii[0] * width * np.sin(around)
        y = np.broadcast_to(top * up, x.shape).copy()
        z = radii[2] * width * np.cos(around) - self.slouch * up**3
        if self.kind == "brimmed_hat":
            pinch = smoothstep(up, 0.55, 1.0) * np.clip(np.cos(around), 0, 1) ** 2
            x *= 1 - 0.28 * pinch
            y -= 0.14 * np.exp(-((x / 0.22) ** 2)) * smoothstep(up, 0.8, 1.0)
        crown = np.stack([x, y, z], 2)
        # A hem below the rim; a beanie folds it outward into a cuff.
        hem = crown[:1] * [1.01, 1, 1.01] + [0, -0.06, 0]
        crown = np.concatenate([hem, crown]).reshape(-1, 3)
        rows = np.concatenate([[0.0], level])
        pieces = [self._piece(crown, len(rows), COLUMNS, rows, wrapped=True)]
        if self.kind == "beanie":
            part = np.linspace(0, 1, 6)[:, None]
            bulge = 1.03 + 0.05 * np.sin(np.pi * part) ** 0.5
            height = -0.07 + CUFF_HEIGHT * part
            narrowing = np.sqrt(1 - np.clip(height / top, 0, 0.9) ** 2)
            cuff = np.stack(
                [
                    radii[0] * bulge * narrowing * np.sin(around),
                    np.broadcast_to(height, (6, COLUMNS)),
                    radii[2] * bulge * narrowing * np.cos(around),
                ],
                2,
            )
            cuff_rows = np.full(6, BRIM_V)
            pieces.append(self._piece(cuff.reshape(-1, 3), 6, COLUMNS, cuff_rows, wrapped=True))
        elif self.kind == "cap":
            angle = np.linspace(-VISOR_HALF_ANGLE, VISOR_HALF_ANGLE, COLUMNS // 2)
            length = self.brim * np.cos(angle / VISOR_HALF_ANGLE * np.pi / 2) ** 0.45
            pieces.append(self._brim(radii, angle, length, forward=1.0, wrapped=False))
        else:
            length = np.full(COLUMNS, self.brim)
            pieces.append(self._brim(radii, around, length, forward=0.0, wrapped=True))
        starts = np.cumsum([0] + [len(piece[0]) for piece in pieces])[:-1]
        return (
            np.concatenate([piece[0] for piece in pieces]),
            np.concatenate(
                [piece[1] + np.int32(start) for piece, start in zip(pieces, starts, strict=True)]
            ),
            np.concatenate([piece[2] for piece in pieces]),
        )

    def _brim(
        self,
        radii: np.ndarray,
        angle: np.ndarray,
        length: np.ndarray,
        forward: float,
        wrapped: bool,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A sheet outward from the rim, or forward."""
        part = np.linspace(0, 1, BRIM_ROWS)[:, None]
        side = np.sin(angle)
        x = radii[0] * side * (1 + 0.06 * forward * part)
        x = x + side * length * part * (1 - forward)
        z = radii[2] * np.cos(angle)
        z = z + length * part * (np.cos(angle) * (1 - forward) + forward)
        bend = self.curl * side**2 * part**1.5 - self.droop * part**1.3
        y = -0.03 + bend * length / self.brim
        vertices = np.stack([x, y, z], 2)[::-1].reshape(-1, 3)  # inward, so that it faces up
        rows = np.full(BRIM_ROWS, BRIM_V)
        return self._piece(vertices, BRIM_ROWS, len(angle), rows, wrapped)

    @staticmethod
    def _piece(
        vertices: np.ndarray, num_rows: int, num_columns: int, rows: np.ndarray, wrapped: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A lattice with texture coordinates: around (0 to 1), and `rows`."""
        triangles = lattice_triangles(num_rows, num_columns, wrapped)
        row, column = np.divmod(triangles, num_columns)
        at_seam = (column == 0) & (column.max(1, keepdims=True) == num_columns - 1)
        u = np.where(at_seam, num_columns, column) / num_columns
        return vertices, triangles, np.stack([u, rows[row]], 2).astype(np.float32)

    def paint(self, paint: Paint, surface: Surface, identity: Identity) -> None:
        """Woven or knitted cloth, felt or straw; seams, ribs and a band."""
        hat = surface.material == Material.HAT
        points = surface.template[hat]
        around, up = surface.uv[hat].T
        height = points[:, 1] - TEMPLATE_OFFSET[1]
        is_brim = up < 0.5 * BRIM_V
        second = is_brim.astype(np.float32)
        weave = 0.5 * noise(points, 60.0, self.offset) + 0.4 * noise(points, 6.0, self.offset)
        relief = np.zeros(len(points), np.float32)
        if self.kind == "beanie":
            rib = 0.5 + 0.5 * np.cos(2 * np.pi * NUM_RIBS * around)
            stitch = 0.5 + 0.5 * np.cos(2 * np.pi * height / 0.035 + np.pi * (rib > 0.5))
            relief = -0.55 * (1 - rib) ** 2 - 0.18 * (1 - stitch)
        elif self.kind == "cap":
            from_seam = np.abs((around * NUM_PANELS + 0.5) % 1 - 0.5)
            relief = -0.45 * (1 - smoothstep(from_seam, 0.0, 0.022)) * ~is_brim
            button = ~is_brim & (up > 0.97)
            second = np.maximum(second, button)
        else:
            second = ((height < BAND_HEIGHT) & ~is_brim).astype(np.float32)
            if self.straw:
                plait = np.cos(2 * np.pi * 90 * around) * np.cos(2 * np.pi * height / 0.05)
                radius = np.hypot(points[:, 0], points[:, 2])
                rings = np.cos(2 * np.pi * radius / 0.045)
                relief = 0.22 * np.where(is_brim, rings, plait) * (1 - second)
        colour = self.colours[0] * (1 - second[:, None]) + self.colours[1] * second[:, None]
        shade = np.clip((1 + 0.16 * weave) * (1 + relief), 0.15, 1.6)
        paint.albedo[hat] = np.clip(colour * shade[:, None], 0, 1)
        paint.gloss[hat], paint.hardness[hat] = 0.05, 10


def sample_hat(generator: np.random.Generator, kind: str) -> Hat:
    """Draw a hat of a kind."""
    rng = generator
    straw = kind == "brimmed_hat" and rng.random() < 0.35
    crown = STRAWS[rng.integers(len(STRAWS))] if straw else CLOTHS[rng.integers(len(CLOTHS))]
    other = CLOTHS[rng.integers(len(CLOTHS))] if rng.random() < (0.9 if straw else 0.35) else crown
    shape = {
        "cap": {
            "raised": rng.uniform(-0.02, 0.08),
            "tilt": rng.uniform(0.16, 0.28),
            "height": rng.uniform(1.02, 1.10),
            "boxiness": rng.uniform(0.1, 0.3),
            "brim": rng.uniform(0.55, 0.72),
            "droop": rng.uniform(0.08, 0.18),
            "curl": rng.uniform(-0.28, -0.10),
            "slouch": 0.0,
        },
        "beanie": {
            "raised": rng.uniform(-0.12, 0.06),
            "tilt": rng.uniform(0.24, 0.40),
            "height": rng.uniform(1.04, 1.22),
            "boxiness": rng.uniform(0.05, 0.25),
            "brim": 0.0,
            "droop": 0.0,
            "curl": 0.0,
            "slouch": rng.uniform(0.0, 0.25),
        },
        "brimmed_hat": {
            "raised": rng.uniform(-0.02, 0.08),
            "tilt": rng.uniform(0.12, 0.24),
            "height": rng.uniform(1.10, 1.28),
            "boxiness": rng.uniform(0.45, 0.75),
            "brim": rng.uniform(0.32, 0.58),
            "droop": rng.uniform(-0.02, 0.10),
            "curl": rng.uniform(-0.06, 0.16),
            "slouch": 0.0,
        },
    }[kind]
    cloth = rng.uniform(0.75, 1.25)
    return Hat(
        kind=kind,
        **shape,
        colours=np.stack([crown * cloth, 0.8 * other * cloth]),
        straw=straw,
        offset=rng.uniform(0, 50),
    )
