"""What becomes of one image when its set is sharded: its file, what is told beside it, its row."""

import hashlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.imagefiles import ENDINGS, open_image
from face2exp_lib.data.sets.images import decode_whole, unreadable
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.data.shards.writer import About, Sample
from face2exp_lib.runtime.errors import Face2ExpError

# At 256 px about 0.2 GB a shard: files large enough to be read in sequence, and a window of eight
# of them, which a stream mixes, fits into the page cache. 260 million images are 26,000 files.
IMAGES_PER_SHARD = 10_000
QUALITY = 90
NAMES = class_names(8)


@dataclass(frozen=True)
class Recipe:
    """How a set becomes shards.

    Attributes:
        size: side in px to which images are resized, upright and as RGB, and stored as JPEG; None
            copies the stored files as they are.
        quality: of the JPEG, 1 to 95.
        images_per_shard: of all but the last.
        seed: of the order; None keeps the source's.
    """

    size: int | None = None
    quality: int = QUALITY
    images_per_shard: int = IMAGES_PER_SHARD
    seed: int | None = 0


def make_sample(faces: FaceSet, row: int, key: str, recipe: Recipe) -> Sample:
    """One image as it is stored, with all that its set tells.

    Raises:
        Face2ExpError: if it cannot be read to its end, or its landmarks are no numbers.
    """
    images, image = faces.images, decode_whole(faces.images, row)
    try:
        stored = images.read(row)
        suffix, content = _encoded(image, stored, recipe)
    except (OSError, ValueError) as error:
        raise unreadable(images, row, error) from error
    width, height = image.size
    points = None
    if faces.landmarks is not None:
        points = faces.landmarks[row].astype(np.float32)
        if not np.isfinite(points).all():
            raise Face2ExpError(f"{images.ids[row]}: its landmarks are no numbers: find them again")
    if recipe.size is not None:
        if points is not None:
            points = points * np.array([recipe.size / width, recipe.size / height], np.float32)
        width = height = recipe.size
    about = About(
        id=readable(images.ids[row]),
        width=width,
        height=height,
        digest=hashlib.blake2b(stored, digest_size=16).digest(),
        label=None if faces.labels is None else int(faces.labels[row]),
        identity=None if faces.identities is None else str(faces.identities[row]),
        landmarks=points,
        detected=None if faces.canonical is None else not faces.canonical[row],
    )
    return Sample(f"{key}{suffix}", content, _told(about), about)


def _encoded(image: Image.Image, stored: bytes, recipe: Recipe) -> tuple[str, bytes]:
    """Ending of its name and bytes of an image as the recipe wants it."""
    if recipe.size is None:
        with open_image(io.BytesIO(stored)) as opened:
            # A JPEG of several pictures (MPO) is one to everybody who reads its first.
            return ENDINGS.get(opened.format or "", ENDINGS["JPEG"])[0], stored
    side = recipe.size
    if image.size != (side, side):
        image = image.resize((side, side), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=recipe.quality)
    return ".jpg", buffer.getvalue()


def _told(about: About) -> dict[str, Any]:
    """The object beside an image: what is known, in words that any reader understands."""
    points = None if about.landmarks is None else about.landmarks.round(2).astype(float).tolist()
    told = {
        "id": about.id,
        "digest": about.digest.hex(),
        "label": None if about.label is None else NAMES[about.label],
        "identity": about.identity,
        "landmarks": points,
        "detected": about.detected,
    }
    return {key: value for key, value in told.items() if value is not None}


def readable(name: str) -> str:
    """A file's name may be no text at all."""
    return name.encode(errors="backslashreplace").decode()
