"""One image: who, what the face does, where it is; then pixels."""

import io

import numpy as np
from PIL import Image, ImageFilter

from face2exp_lib.rendering.assets import Material
from face2exp_lib.rendering.backdrop import draw_backdrop
from face2exp_lib.rendering.compiled import compile_loop
from face2exp_lib.rendering.expressions import COMPOUND_STRENGTHS, sample_action_weights
from face2exp_lib.rendering.geometry import dot
from face2exp_lib.rendering.glasses import Glasses
from face2exp_lib.rendering.head import EYE_CENTRES
from face2exp_lib.rendering.identity import Identity
from face2exp_lib.rendering.lenses import draw_lenses
from face2exp_lib.rendering.occluders import Occluder, sample_occluder
from face2exp_lib.rendering.posing import Person, landmarks_in_picture, load_person, pose_head
from face2exp_lib.rendering.raster import Fragments, rasterise
from face2exp_lib.rendering.record import FaceRecord
from face2exp_lib.rendering.scene import Scene, sample_scene
from face2exp_lib.rendering.shading import shade, wrinkle
from face2exp_lib.rendering.skin import paint_surface
from face2exp_lib.rendering.spec import FaceSpec, SpecError
from face2exp_lib.rendering.surface import TWO_SIDED, Surface, surface_at
from face2exp_lib.rendering.wrinkles import groove_map

SUPERSAMPLING = 2  # each pixel is the mean of 2 x 2
PIXELS_AT_ONCE = 1 << 17  # are painted and lit: bounds the memory that large pictures take
LUMINANCE = (0.30, 0.59, 0.11)
TARGET_LUMINANCE, EXPOSURE_POWER = 0.30, 0.55  # cameras brighten dark faces, but not in full
LASH_OPACITY_MALE, LASH_OPACITY_FEMALE = 0.42, 0.72
LOWER_LASH_PART = 0.45  # of that opacity: lower lashes are fewer and finer
LASH_SEARCH = np.array([1, -1, 2, -2, 3, -3, 4, -4, 6, -6])  # rows


def render_face(spec: FaceSpec, index: int) -> tuple[np.ndarray, FaceRecord]:
    """Image `index` of a set and the truth about it.

    Returns:
        (size, size, 3) uint8 sRGB, and the record.

    Raises:
        SpecError: if the set has no such image.
    """
    if not 0 <= index < spec.count:
        raise SpecError(f"index: {index} is not in a set of count {spec.count}: raise count")
    mixture = spec.mixture(index)
    parts = mixture.split("+")
    who = spec.generator("identity", index)
    number = spec.first_identity + int(who.integers(spec.num_identities))
    what = spec.generator("expression", index)
    intensity = 0.0 if mixture == "neutral" else what.uniform(*spec.intensity)
    weights = sample_action_weights(mixture, intensity, spec.idle, what)
    scene = sample_scene(spec.generator("scene", index), spec.pose, spec.light)
    person = load_person(spec.seed, number)
    occluder = sample_occluder(spec.generator("occluder", index), spec.occlusion)
    image, landmarks = render_head(person, weights, scene, spec.size, occluder=occluder)

    label = spec.generator("label", index)
    expression = parts[0]
    if label.random() < spec.label_noise:
        expression = str(label.choice([c for c in spec.dominant_classes if c != parts[0]]))
    strengths = (1.0,) if len(parts) == 1 else COMPOUND_STRENGTHS
    light_x, light_y, light_z = scene.key_direction
    return image, FaceRecord(
        expression=expression,
        true_expression=parts[0],
        mixture={
            part: strength / sum(strengths) for part, strength in zip(parts, strengths, strict=True)
        },
        identity=number,
        intensity=float(intensity),
        yaw=float(np.degrees(scene.yaw)),
        pitch=float(np.degrees(scene.pitch)),
        roll=float(np.degrees(scene.roll)),
        landmarks=landmarks,
        light=(
            float(np.degrees(np.arctan2(light_x, light_z))),
            float(np.degrees(np.arcsin(light_y))),
        ),
        skin_shade=person.identity.skin_shade,
        action_weights=weights,
        occluder="" if occluder is None else occluder.kind,
    )


def render_head(
    person: Person,
    weights: dict[str, float],
    scene: Scene,
    size: int,
    occluder: Occluder | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a person whose face does `weights` (ARKit unit -> weight) in a scene.

    Returns:
        (size, size, 3) uint8 sRGB, and (5, 2) landmarks in pixels of it.
    """
    width = size * SUPERSAMPLING
    head = pose_head(person, weights, scene, width, occluder)
    one_sided = ~TWO_SIDED[head.material]
    fragments = rasterise(head.projected, head.triangles, one_sided, width, width)
    surface = surface_at(head, scene, fragments)
    grooves = groove_map(weights, person.identity.age, person.identity.wrinkle_depth)
    light = np.empty((len(surface.material), 3), np.float32)
    for piece, part in surface.parts(PIXELS_AT_ONCE):
        paint = paint_surface(part, person.identity)
        if occluder is not None:
            occluder.paint(paint, part, person.identity)
        wrinkle(part, person.identity, grooves, head.turn)
        light[piece] = shade(paint, part, scene)
    exposure = face_exposure(surface, light) * scene.exposure

    picture = draw_backdrop(scene.backdrop_kind, scene.backdrop, scene.seed, width)
    shown = fragments.triangle >= 0
    light = blend_lashes(light, picture, surface, fragments, person.identity)
    picture *= scene.exposure
    picture[shown] = light * exposure
    if isinstance(occluder, Glasses):
        draw_lenses(picture, head, fragments, occluder, scene, exposure)
    landmarks = landmarks_in_picture(head.projected) / SUPERSAMPLING
    return develop(shrink(picture), scene), landmarks


def face_exposure(surface: Surface, light: np.ndarray) -> float:
    """Factor that brings the skin of the face part of the way to a medium brightness."""
    _, y, z = surface.template.T
    face = (surface.material == Material.BODY) & (z > 0.9) & (y > 6.4) & (y < 7.9)
    luminance = float(dot(light[face], np.array(LUMINANCE)).mean()) if face.any() else 0.0
    return (TARGET_LUMINANCE / (luminance + 1e-4)) ** EXPOSURE_POWER


@compile_loop
def _blend(light, backdrop, place, opacity, search, blended):  # type: ignore[no-untyped-def]
    height, width = place.shape
    for row in range(height):
        for column in range(width):
            i = place[row, column]
            if i < 0:
                continue
            for channel in range(3):
                blended[i, channel] = light[i, channel]
            if opacity[i] == 1:
                continue
            source = -1
            for step in search:
                other = place[min(max(row + step, 0), height - 1), column]
                if other >= 0 and opacity[other] == 1:
                    source = other
                    break
            for channel in range(3):
                behind = light[source, channel] if source >= 0 else backdrop[row, column, channel]
                blended[i, channel] = light[i, channel] * opacity[i] + behind * (1 - opacity[i])


def blend_lashes(
    light: np.ndarray,
    backdrop: np.ndarray,
    surface: Surface,
    fragments: Fragments,
    identity: Identity,
) -> np.ndarray:
    """Let what is behind lashes shine through: the nearest pixel in the column without a lash.

    Args:
        light: (n, 3) of the surface's pixels.
        backdrop: (height, width, 3).
        surface, fragments: say where the n pixels are and which show lashes.
        identity: whose lashes they are.

    Returns:
        (n, 3) float32.
    """
    shown = fragments.triangle >= 0
    place = np.full(shown.shape, -1, np.int32)
    place[shown] = np.arange(len(light))
    upper = LASH_OPACITY_FEMALE if identity.masculinity < 0.5 else LASH_OPACITY_MALE
    is_lower = surface.template[:, 1] < EYE_CENTRES[0, 1]
    opacity = np.where(is_lower, upper * LOWER_LASH_PART, upper).astype(np.float32)
    opacity[surface.material != Material.LASH] = 1
    blended = np.empty_like(light)
    _blend(light, backdrop, place, opacity, LASH_SEARCH, blended)
    return blended


def shrink(picture: np.ndarray) -> np.ndarray:
    """(size, size, 3) mean of each block of SUPERSAMPLING x SUPERSAMPLING pixels."""
    size = len(picture) // SUPERSAMPLING
    total = np.zeros((size, size, 3), np.float32)
    for row in range(SUPERSAMPLING):
        for column in range(SUPERSAMPLING):
            total += picture[row::SUPERSAMPLING, column::SUPERSAMPLING]
    return total / SUPERSAMPLING**2


def develop(picture: np.ndarray, scene: Scene) -> np.ndarray:
    """From linear light to an sRGB picture that has been through a camera and a JPEG file."""
    picture = np.clip(picture * (1 + 0.08 * picture) / (1 + 0.42 * picture), 0, 1) ** (1 / 2.2)
    if scene.grey:
        red, green, blue = np.moveaxis(picture, 2, 0)
        picture = np.stack([0.299 * red + 0.587 * green + 0.114 * blue] * 3, axis=2)
    grain = np.random.default_rng([scene.seed, 1]).normal(0, scene.sensor_noise, picture.shape)
    image = Image.fromarray((np.clip(picture + grain, 0, 1) * 255 + 0.5).astype(np.uint8))
    if scene.blur > 0.2:
        image = image.filter(ImageFilter.GaussianBlur(scene.blur * len(picture) / 128))
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=scene.jpeg_quality)
    return np.asarray(Image.open(stored).convert("RGB"))
