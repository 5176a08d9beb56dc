"""Which files are images, how one is opened, and what a folder holds beside them.

Image files come from anywhere, so Pillow opens them, in a fixed list of formats, and nothing in
them is executed or written to disk.
"""

import os
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import Image, features

from face2exp_lib.runtime.errors import Face2ExpError

# Pillow's name of each format that is read -> the endings of its files. What Pillow reads by
# running other programs (PostScript) or for printers and fonts is no photo.
ENDINGS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k"),
    "AVIF": (".avif",),
}
# Decoders that a build of Pillow may lack; what it cannot decode is left out and counted.
OPTIONAL = {"WEBP": "webp", "TIFF": "libtiff", "JPEG2000": "jpg_2000", "AVIF": "avif"}
FORMATS = tuple(name for name in ENDINGS if name not in OPTIONAL or features.check(OPTIONAL[name]))
SUFFIXES = frozenset(ending for name in FORMATS for ending in ENDINGS[name])
MAX_PIXELS = 2**26  # a small file can claim to be far more than fits into memory
# What systems and tools leave behind beside the hidden files, whose names begin with a dot
# (.DS_Store, ._x.jpg of a Mac, .ipynb_checkpoints): in lower case.
LEFT_BEHIND = frozenset(
    {
        "__macosx",
        "__pycache__",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "icon\r",
        "@eadir",
        "#recycle",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "lost.dir",
    }
)
LEFT_BEHIND_TOLD = (
    "left there by a system or a tool (hidden files, .ipynb_checkpoints, __MACOSX, ...)"
)
MOST_ENDINGS = 10  # that are counted one by one
LIMIT = f"the {MAX_PIXELS:,} that are read: make it smaller"


def open_image(file: Path | BinaryIO) -> Image.Image:
    """An image in one of `FORMATS`, not necessarily decoded yet.

    Raises:
        OSError, ValueError: if it is none, cannot be read or is larger than `MAX_PIXELS`.
    """
    with warnings.catch_warnings():
        # Pillow warns above a size of its own, which does not tell what is too large here.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            image = Image.open(file, formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise ValueError(f"it has more than {LIMIT}") from error
    if image.width * image.height > MAX_PIXELS:
        told = f"it has {image.width:,} x {image.height:,} pixels, more than {LIMIT}"
        image.close()
        raise ValueError(told)
    return image


class Listed(NamedTuple):
    """What lies below a folder: sorted paths relative to it, with `/` between their parts.

    Attributes:
        images: files whose names end as an image's.
        links: linked folders, which are not entered: they may be loops.
        others: all other files.
        left_behind: files and folders that a system or a tool put there; none is entered.
    """

    images: list[str]
    links: list[str]
    others: list[str]
    left_behind: list[str]


def is_left_behind(name: str) -> bool:
    """Whether a file or folder of that name is none of a set's: hidden, or put there by a system
    or a tool."""
    return name.startswith(".") or name.lower() in LEFT_BEHIND


def is_image(name: str) -> bool:
    """Whether a name ends as that of an image does which is read."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def list_images(folder: Path) -> Listed:
    """Image files below `folder`, and what else lies there.

    Raises:
        Face2ExpError: if a folder cannot be listed: its images would be missing unnoticed.
    """

    def fail(error: OSError) -> None:
        raise Face2ExpError(
            f"{error.filename}: cannot be listed ({error.strerror}): give a folder that can be read"
        ) from error

    found = Listed([], [], [], [])
    for parent, folders, files in os.walk(folder, onerror=fail):
        below = Path(parent).relative_to(folder).as_posix()
        prefix = "" if below == "." else f"{below}/"
        for name in files:
            kind = found.images if is_image(name) else found.others
            (found.left_behind if is_left_behind(name) else kind).append(prefix + name)
        found.left_behind.extend(prefix + name for name in folders if is_left_behind(name))
        folders[:] = [name for name in folders if not is_left_behind(name)]
        found.links.extend(
            prefix + name for name in folders if os.path.islink(os.path.join(parent, name))
        )
    return Listed(*map(sorted, found))


def endings(names: Iterable[str]) -> str:
    """How often each ending occurs, the most frequent first, for people: `.txt 3, .mov 1`."""
    counts = Counter(os.path.splitext(name)[1].lower() or "(none)" for name in names)
    told = counts.most_common(MOST_ENDINGS)
    others = counts.total() - sum(count for _, count in told)
    return ", ".join(
        f"{end} {count}" for end, count in [*told, *([("others", others)] if others else [])]
    )
