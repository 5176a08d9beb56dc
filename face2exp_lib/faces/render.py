"""One image: who, what the face does, where it is; then pixels."""

import io

import numpy as np
from PIL import Image, ImageFilter

from face2exp_lib.faces.assets import Material
from face2exp_lib.faces.expressions import COMPOUND_STRENGTHS, sample_action_weights
from face2exp_lib.faces.geometry import dot
from face2exp_lib.faces.identity import Identity
from face2exp_lib.faces.posing import Person, landmarks_in_picture, load_person, pose_head
from face2exp_lib.faces.raster import Fragments, rasterise
from face2exp_lib.faces.record import FaceRecord
from face2exp_lib.faces.scene import Scene, draw_backdrop, sample_scene
from face2exp_lib.faces.shading import shade, wrinkle
from face2exp_lib.faces.skin import paint_surface
from face2exp_lib.faces.spec import FaceSpec, SpecError
from face2exp_lib.faces.surface import Surface, surface_at

SUPERSAMPLING = 2  # each pixel is the mean of 2 x 2
LUMINANCE = (0.30, 0.59, 0.11)
TARGET_LUMINANCE, EXPOSURE_POWER = 0.30, 0.55  # cameras brighten dark faces, but not in full
LASH_OPACITY_MALE, LASH_OPACITY_FEMALE = 0.42, 0.72
LASH_SEARCH = (1, -1, 2, -2, 3, -3, 4, -4, 6, -6)  # rows


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
    image, landmarks = render_head(person, weights, scene, spec.size)

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
    )


def render_head(
    person: Person, weights: dict[str, float], scene: Scene, size: int, crop: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a person whose face does `weights` (ARKit unit -> weight) in a scene.

    Returns:
        (size, size, 3) uint8 sRGB, and (5, 2) landmarks in pixels of it.
    """
    width = size * SUPERSAMPLING
    head = pose_head(person, weights, scene, width, crop)
    one_sided = head.material < Material.LASH
    fragments = rasterise(head.projected, head.triangles, one_sided, width, width)
    surface = surface_at(head, scene, fragments)
    paint = paint_surface(surface, person.identity)
    wrinkle(surface, person.identity, weights, head.turn)
    light = shade(paint, surface, scene)
    exposure = face_exposure(surface, light) * scene.exposure

    picture = draw_backdrop(scene, width)
    shown = fragments.triangle >= 0
    light = blend_lashes(light, picture[shown], surface, fragments, person.identity)
    picture *= scene.exposure
    picture[shown] = light * exposure
    small = picture.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, 3).mean((1, 3))
    landmarks = landmarks_in_picture(head.projected) / SUPERSAMPLING
    return develop(small, scene), landmarks


def face_exposure(surface: Surface, light: np.ndarray) -> float:
    """Factor that brings the skin of the face part of the way to a medium brightness."""
    _, y, z = surface.template.T
    face = (surface.material == Material.BODY) & (z > 0.9) & (y > 6.4) & (y < 7.9)
    luminance = float(dot(light[face], np.array(LUMINANCE)).mean()) if face.any() else 0.0
    return (TARGET_LUMINANCE / (luminance + 1e-4)) ** EXPOSURE_POWER


def blend_lashes(
    light: np.ndarray,
    backdrop: np.ndarray,
    surface: Surface,
    fragments: Fragments,
    identity: Identity,
) -> np.ndarray:
    """Let what is behind lashes shine through: the nearest pixel in the column without a lash."""
    lash = surface.material == Material.LASH
    shown = fragments.triangle >= 0
    place = np.full(shown.shape, -1)
    place[shown] = np.arange(len(light))
    behind = backdrop.copy()
    pending = np.argwhere(shown)[lash]
    for step in LASH_SEARCH:
        rows = np.clip(pending[:, 0] + step, 0, len(shown) - 1)
        source = place[rows, pending[:, 1]]
        found = (source >= 0) & ~lash[source]
        behind[place[tuple(pending[found].T)]] = light[source[found]]
        pending = pending[~found]
    opacity = LASH_OPACITY_FEMALE if identity.masculinity < 0.5 else LASH_OPACITY_MALE
    return np.where(lash[:, None], light * opacity + behind * (1 - opacity), light)


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
