"""Glasses: frames fitted to a face, and lenses that let what is behind them through."""

from dataclasses import dataclass

import numpy as np

from face2exp_lib.rendering.assets import Material
from face2exp_lib.rendering.geometry import dot, smoothstep
from face2exp_lib.rendering.head import EYE_CENTRES, Head
from face2exp_lib.rendering.identity import Identity
from face2exp_lib.rendering.noise import noise
from face2exp_lib.rendering.paint import Paint
from face2exp_lib.rendering.prop import Prop, lattice_triangles, tube
from face2exp_lib.rendering.scene import Scene
from face2exp_lib.rendering.surface import Surface

OUTLINE_POINTS, LENS_RINGS, SECTION_SIDES = 40, 3, 6
FACE_CLEARANCE = 0.03  # decimetres between rim and skin
HEAD_CLEARANCE = 0.015  # between temple and head
BRIDGE_CLEARANCE = 0.02
PANTOSCOPIC_TILT = 0.14  # the lower edge of a lens is nearer to the face: forward per upward
EAR_MASK = 0.3  # of `Head.ear`: what belongs to the ear
TEMPLATE_OFFSET = np.array([0, -40, 0], np.float32)
GLASS_REFLECTANCE = 0.04  # of one surface, seen straight on

# Outlines: exponent of the superellipse (2 is an ellipse), half height over half width, lift of
# the upper outer corner and narrowing towards the lower edge, both as parts of the half height.
FRAME_SHAPES = {
    "round": (2.0, 0.96, 0.0, 0.0),
    "oval": (2.2, 0.70, 0.0, 0.0),
    "rectangular": (4.2, 0.62, 0.06, 0.06),
    "square": (3.6, 0.84, 0.04, 0.10),
    "cat-eye": (2.7, 0.76, 0.28, 0.10),
    "aviator": (2.5, 0.92, 0.05, 0.22),
}
# Linear reflectance of plastic, of its darker flecks, and of metal.
PLASTICS = np.array([
    [[0.012, 0.012, 0.013], [0.012, 0.012, 0.013]], [[0.16, 0.065, 0.022], [0.025, 0.012, 0.008]],
    [[0.07, 0.035, 0.02], [0.05, 0.025, 0.015]], [[0.30, 0.02, 0.03], [0.25, 0.015, 0.025]],
    [[0.02, 0.05, 0.16], [0.016, 0.04, 0.13]], [[0.42, 0.40, 0.37], [0.36, 0.33, 0.30]],
    [[0.03, 0.11, 0.08], [0.02, 0.08, 0.06]],
])  # fmt: skip
METALS = np.array([[0.42, 0.42, 0.43], [0.48, 0.34, 0.14], [0.05, 0.05, 0.055], [0.42, 0.25, 0.19]])
TINTS = np.array([[0.62, 0.50, 0.34], [0.52, 0.56, 0.62], [0.66, 0.46, 0.50], [0.48, 0.60, 0.50]])
DARK_TINTS = np.array([[0.050, 0.048, 0.046], [0.085, 0.055, 0.030], [0.045, 0.065, 0.050]])


@dataclass(frozen=True)
class Glasses:
    """A pair of glasses. Lengths in decimetres for a face whose eyes are those of the template.

    Attributes:
        kind: glasses, tinted_glasses or sunglasses.
        shape: a key of `FRAME_SHAPES`.
        half_width: of a lens; half_gap: from the midline to a lens.
        rim: half thickness above, lower_rim: below; temple: half height of the temples.
        wrap: curvature of the front, backward per squared distance from the midline.
        colours: (2, 3) of the frame and its flecks; metal: whether it shines like one.
        transmission: (3,) part of the light that the lenses let through; gradient: how much
            more of it their lower edge lets through, 0 to 1.
        mirroring: factor on the reflections in the lenses.
        offset: where in the noise lattice the flecks and the mirrored surroundings lie.
    """

    kind: str
    shape: str
    half_width: float
    half_gap: float
    rim: float
    lower_rim: float
    temple: float
    wrap: float
    colours: np.ndarray
    metal: bool
    transmission: np.ndarray
    gradient: float
    mirroring: float
    offset: float

    def put_on(
        self, head: Head, identity: Identity, rest: np.ndarray, shaped: np.ndarray
    ) -> tuple[np.ndarray, Prop]:
        """The head's vertices as they are, and the glasses on nose and ears."""
        eyes = np.stack([rest[group].mean(0) for group in head.landmarks[:2]])
        middle, scale = eyes.mean(0), np.ptp(eyes[:, 0]) / np.ptp(EYE_CENTRES[:, 0])
        outline = self._outline() * scale
        centre_x = (self.half_gap + self.half_width) * scale
        centre_y = middle[1] - 0.02 * scale
        is_skin, is_ear = head.is_body & (head.ear < EAR_MASK), head.is_body & (head.ear > EAR_MASK)
        skin = shaped[: len(is_skin)][is_skin] - np.array([middle[0], 0, 0])
        front = self._clear_of(skin, centre_x, centre_y, scale)

        def on_front(points: np.ndarray) -> np.ndarray:
            """(n, 3) points of the curved, tilted front, of (n, 2) places across and up."""
            x, up = points.T
            z = front - self.wrap * x**2 + PANTOSCOPIC_TILT * up
            return np.stack([x, centre_y + up, z], 1)

        half_height = np.abs(outline[:, 1]).max()
        parts, lenses, heights = [], [], []
        upper = smoothstep(outline[:, 1], -0.2 * half_height, 0.3 * half_height)[:, None]
        rim = (self.lower_rim + (self.rim - self.lower_rim) * upper) * scale
        rings = np.linspace(1, 0, LENS_RINGS + 1)[:, None, None]
        for side in (1, -1):
            placed = (outline + np.array([centre_x, 0])) * [side, 1]
            placed = placed[::side]  # counter-clockwise on both sides
            path = on_front(placed)
            # tube() turns its section outward for paths that run counter-clockwise about z
            parts.append(
                tube(path, np.array([0, 0, 1.0]), rim[::side] * [[1, 1.3]], SECTION_SIDES, True)
            )
            disc = (placed[None] - [centre_x * side, 0]) * rings + [centre_x * side, 0]
            disc = disc.reshape(-1, 2)
            heights.append(disc[:, 1] / half_height)
            lenses.append(
                (
                    on_front(disc).astype(np.float32),
                    lattice_triangles(LENS_RINGS + 1, OUTLINE_POINTS, wrapped=True),
                )
            )
        parts.append(self._bridge(skin, on_front, half_height, scale))
        hinge_y = 0.35 * half_height
        hinge = on_front(np.array([[centre_x + (self.half_width + self.rim) * scale, hinge_y]]))[0]
        # Under the hair, if there is any: temples follow the skull.
        skull, ears = (rest[mask] - np.array([middle[0], 0, 0]) for mask in (is_skin, is_ear))
        for side in (1, -1):
            mirror = np.array([side, 1, 1])
            parts.append(self._temple(skull * mirror, ears * mirror, hinge, side, scale))

        return shaped, _join(parts, lenses, np.concatenate(heights), middle[0])

    def _outline(self) -> np.ndarray:
        """(n, 2) of a lens on the positive side, counter-clockwise from the outer end."""
        exponent, aspect, lift, narrowing = FRAME_SHAPES[self.shape]
        angle = 2 * np.pi * np.arange(OUTLINE_POINTS) / OUTLINE_POINTS
        cos, sin = np.cos(angle), np.sin(angle)
        x = np.sign(cos) * np.abs(cos) ** (2 / exponent)
        y = np.sign(sin) * np.abs(sin) ** (2 / exponent)
        raised = y + lift * smoothstep(x, -0.2, 1.0) * smoothstep(y, -0.6, 0.8)
        narrowed = x * (1 - narrowing * smoothstep(-y, -0.3, 1.0))
        return np.stack([narrowed, raised * aspect], 1) * self.half_width

    def _clear_of(self, skin: np.ndarray, centre_x: float, centre_y: float, scale: float) -> float:
        """How far forward the front's middle must be for rims and lenses to clear the skin."""
        aspect = FRAME_SHAPES[self.shape][1]
        reach = (self.half_width + self.rim) * scale
        across, up = (np.abs(skin[:, 0]) - centre_x) / reach, (skin[:, 1] - centre_y) / reach
        behind = (across**2 + (up / (aspect + 0.1)) ** 2 < 1) & (skin[:, 2] > 0)
        x, y, z = skin[behind].T
        return float((z + self.wrap * x**2 - PANTOSCOPIC_TILT * (y - centre_y)).max()) + (
            FACE_CLEARANCE * scale
        )

    def _bridge(self, skin, on_front, half_height, scale) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[no-untyped-def]
        """From rim to rim over the nose."""
        part = np.linspace(-1, 1, 9)
        reach = (self.half_gap + 0.5 * self.rim) * scale
        up = half_height * (0.22 + 0.10 * (1 - part**2))
        path = on_front(np.stack([part * reach, up], 1))
        top = path[len(part) // 2, 1]
        x, y, z = skin.T
        nose_z = z[(np.abs(x) < 0.06) & (np.abs(y - top) < 0.08) & (z > 1)].max()
        needed = nose_z + BRIDGE_CLEARANCE + self.rim - path[len(part) // 2, 2]
        path[:, 2] += max(0.0, needed) * (1 - part**2)
        half_widths = np.full((len(part), 2), max(self.rim, 0.011) * scale)
        return tube(path, np.array([0, 0, 1.0]), half_widths, SECTION_SIDES, False)

    def _temple(
        self, skin: np.ndarray, ears: np.ndarray, hinge: np.ndarray, side: int, scale: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """From a hinge along the head, over the ear and down behind it."""
        ear = ears[ears[:, 0] > 0]
        top = ear[np.argmax(ear[:, 1])]
        back = np.linspace(0, 1, 9)
        y = hinge[1] + (top[1] - 0.01 - hinge[1]) * back
        z = hinge[2] + (top[2] - hinge[2]) * back
        near = (np.abs(skin[:, 1, None] - y) < 0.14) & (np.abs(skin[:, 2, None] - z) < 0.13)
        head_x = np.where(near, skin[:, :1], 0).max(0) + HEAD_CLEARANCE + 0.01
        straight = hinge[0] + (head_x[-1] - hinge[0]) * smoothstep(back, 0, 0.35)
        x = np.maximum(straight, np.where(back > 0.1, head_x, 0))
        path = np.stack([x, y, z], 1)
        tail = path[-1] + np.array([[0, -0.04, -0.10], [-0.03, -0.16, -0.18], [-0.05, -0.3, -0.22]])
        path = np.concatenate([path, tail]) * [side, 1, 1]
        half_widths = np.tile([0.010, self.temple], (len(path), 1)) * scale
        return tube(path, np.array([0, 1.0, 0]), half_widths, SECTION_SIDES, False)

    def paint(self, paint: Paint, surface: Surface, identity: Identity) -> None:
        """Plastic or metal."""
        frame = surface.material == Material.GLASSES
        flecks = smoothstep(noise(surface.template[frame], 9.0, self.offset), -0.2, 0.3)[:, None]
        paint.albedo[frame] = self.colours[0] * (1 - flecks) + self.colours[1] * flecks
        paint.gloss[frame] = 1.3 if self.metal else 0.8
        paint.hardness[frame] = 45 if self.metal else 70

    def through_lenses(
        self,
        behind: np.ndarray,
        normal: np.ndarray,
        view: np.ndarray,
        up: np.ndarray,
        scene: Scene,
        exposure: float,
    ) -> np.ndarray:
        """What is seen where a lens is: what lies behind, dimmed, and a faint mirror image.

        Args:
            behind: (n, 3) the picture without the lens.
            normal, view: (n, 3) unit vectors, outward and towards the camera.
            up: (n,) place on the lens, -1 at its lower and 1 at its upper edge.
            scene: what is mirrored.
            exposure: factor from light to picture.

        Returns:
            (n, 3) the picture with the lens.
        """
        clear = (self.gradient * smoothstep(-up, -0.6, 1.0))[:, None]
        passed = self.transmission * (1 - clear) + np.sqrt(self.transmission) * clear
        across = np.abs((normal * view).sum(1))
        mirrored = 2 * across[:, None] * normal - view
        fresnel = GLASS_REFLECTANCE + (1 - GLASS_REFLECTANCE) * (1 - across) ** 5
        upward = smoothstep(mirrored[:, 1], -0.25, 0.45)[:, None]
        surroundings = scene.ground * (1 - upward) + scene.sky * upward
        patches = np.clip(0.6 + 0.8 * noise(mirrored, 2.2, self.offset), 0.15, 2.0)
        spot = np.clip(dot(mirrored, scene.key_direction), 0, 1) ** 120 * 3.0
        reflected = surroundings * patches[:, None] + scene.key * spot[:, None]
        return behind * passed + reflected * (2 * fresnel * self.mirroring * exposure)[:, None]


def _join(
    frame: list[tuple[np.ndarray, np.ndarray]],
    lenses: list[tuple[np.ndarray, np.ndarray]],
    heights: np.ndarray,
    middle_x: float,
) -> Prop:
    """One mesh; a lens vertex has for its template y its height on the lens, -1 to 1."""
    meshes = [*frame, *lenses]
    vertices = np.concatenate([mesh[0] for mesh in meshes])
    vertices[:, 0] += np.float32(middle_x)
    starts = np.cumsum([0] + [len(mesh[0]) for mesh in meshes])[:-1]
    triangles = [mesh[1] + np.int32(start) for mesh, start in zip(meshes, starts, strict=True)]
    rims = np.concatenate(triangles[: len(frame)])
    template = vertices + TEMPLATE_OFFSET
    template[-len(heights) :, 1] = heights
    return Prop(
        vertices=vertices,
        template=template,
        triangles=rims,
        triangle_uv=np.zeros((len(rims), 3, 2), np.float32),
        material=np.full(len(rims), int(Material.GLASSES), np.int32),
        lenses=np.concatenate(triangles[len(frame) :]),
    )


def sample_glasses(generator: np.random.Generator, kind: str) -> Glasses:
    """Draw a pair of glasses of a kind."""
    rng = generator
    sun = kind == "sunglasses"
    shape = str(rng.choice(list(FRAME_SHAPES), p=(0.16, 0.16, 0.22, 0.2, 0.14, 0.12)))
    metal = bool(rng.random() < (0.35 if not sun else 0.25)) or shape == "aviator"
    rim = rng.uniform(0.007, 0.011) if metal else rng.uniform(0.014, 0.026)
    half_rimmed = rng.random() < 0.2
    plastic, fine_metal = PLASTICS[rng.integers(len(PLASTICS))], METALS[rng.integers(len(METALS))]
    transmission = np.array([0.93, 0.94, 0.93])
    if kind == "tinted_glasses":
        transmission = TINTS[rng.integers(len(TINTS))] * rng.uniform(0.85, 1.25)
    elif sun:
        transmission = DARK_TINTS[rng.integers(len(DARK_TINTS))] * rng.uniform(0.6, 2.0)
    aspect = FRAME_SHAPES[shape][1]
    return Glasses(
        kind=kind,
        shape=shape,
        half_width=(rng.uniform(0.215, 0.25) + 0.02 * sun) * (0.93 if aspect > 0.9 else 1.0),
        half_gap=rng.uniform(0.085, 0.105),
        rim=rim,
        lower_rim=0.006 if half_rimmed else rim * rng.uniform(0.75, 1.0),
        temple=rng.uniform(0.012, 0.018) if metal else rng.uniform(0.02, 0.038),
        wrap=rng.uniform(0.06, 0.14) + 0.08 * sun,
        colours=np.tile(fine_metal, (2, 1)) if metal else plastic,
        metal=metal,
        transmission=transmission.astype(np.float32),
        gradient=float(rng.random() < 0.4) * rng.uniform(0.4, 1.0) if kind != "glasses" else 0.0,
        mirroring=rng.uniform(0.25, 1.0) if not sun else rng.uniform(0.8, 1.8),
        offset=rng.uniform(0, 50),
    )
