"""Pack real faces for a GPU machine: FER2013 as it is, LFW at 64 px, in at most 60 MB.

    FACE2EXP_DATA=DIR python -m benchmarks.gpu.pack --out _build/gpu-data.tar.gz

DIR holds FER2013's Training and PublicTest as `train/<class>/*.jpg` and `validation/<class>/*.jpg`,
and `lfw/<Name>/*.jpg`. The rendered faces lie in the checkout and are not packed a second time. The
faces are real people's, for research: the archive is never committed nor passed on.
"""

import argparse
import io
import os
import shutil
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from face2exp_lib.config import data_root
from face2exp_lib.data.formats import FORMATS
from face2exp_lib.data.reading import read_set
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.images import decode_whole
from face2exp_lib.runtime.errors import Face2ExpError

SETS = (("class_folders", "train"), ("class_folders", "validation"), ("identity_folders", "lfw"))
SMALLER = "lfw"  # the set that is made smaller
SIDE, LEAST_SIDE, MOST_SIDE = 64, 48, 64  # px
QUALITY = 80  # of WebP, of the smaller images
MOST_BYTES = 60 * 10**6


def pack(root: Path, out: Path, side: int = SIDE) -> int:
    """Write the archive; returns its bytes.

    Args:
        root: the data root.
        out: `.tar.gz`; whole or absent.
        side: of LFW's images in px.

    Raises:
        Face2ExpError: if a set is missing or the archive would be too large.
    """
    sets = {
        folder: read_set(FORMATS[name], root / folder, "", None, skip_bad=False)
        for name, folder in SETS
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial")
    try:
        with tarfile.open(partial, "w:gz", compresslevel=9) as archive:
            for folder, faces in sets.items():
                for name, content in _files(folder, faces, side):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        size = partial.stat().st_size
        if size > MOST_BYTES:
            raise Face2ExpError(
                f"{out}: would take {size / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f}: give a "
                f"smaller --side, down to {LEAST_SIDE}"
            )
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)
    return size


def _files(folder: str, faces: FaceSet, side: int) -> Iterator[tuple[str, bytes]]:
    """Name in the archive and content of each image, by name."""
    order = sorted(range(len(faces)), key=lambda row: faces.images.ids[int(faces.rows[row])])
    for position in tqdm(order, desc=folder, unit="image"):
        row = int(faces.rows[position])
        name, content = f"{folder}/{faces.images.ids[row]}", faces.images.read(row)
        if folder == SMALLER:
            small = decode_whole(faces.images, row).convert("L").resize((side, side))
            buffer = io.BytesIO()
            small.save(buffer, "WEBP", quality=QUALITY, method=6)
            name, content = str(Path(name).with_suffix(".webp")), buffer.getvalue()
        yield name, content


def unpacked(data: Path, out: Path) -> Path:
    """The data root that an archive holds, unpacked into a folder once; of a folder, itself.

    Raises:
        Face2ExpError: if it is neither, or not such an archive.
    """
    if data.is_dir():
        return data
    if not data.is_file():
        raise Face2ExpError(f"{data}: no such archive: `python -m benchmarks.gpu.pack` writes one")
    root = out / "data"
    if root.is_dir():
        return root
    partial = out / ".data.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with tarfile.open(data, "r:gz") as archive:
            archive.extractall(partial, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise Face2ExpError(f"{data}: cannot be unpacked ({error}): pack it anew") from error
    partial.rename(root)
    return root


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", type=Path, help="default: FACE2EXP_DATA")
    parser.add_argument("--out", type=Path, default=Path("_build/gpu-data.tar.gz"))
    parser.add_argument("--side", type=int, default=SIDE, help="px of LFW's images, 48 to 64")
    arguments = parser.parse_args()
    try:
        if not LEAST_SIDE <= arguments.side <= MOST_SIDE:
            raise Face2ExpError(f"--side: give {LEAST_SIDE} to {MOST_SIDE}, not {arguments.side}")
        root = data_root(arguments.data_root)
        if root is None:
            raise Face2ExpError("no data root: set FACE2EXP_DATA, or give --data-root")
        size = pack(root, arguments.out, arguments.side)
    except Face2ExpError as error:
        print(f"pack: error: {error}", file=sys.stderr)
        return 1
    print(f"{arguments.out}: {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
