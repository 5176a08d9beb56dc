"""Write sets of rendered faces as `NAME.zip` + `NAME.csv`: `python -m face2exp_lib.faces.pack`.

A set is rendered in chunks that are kept beside it until it is whole, so an interrupted run goes on
where it stopped, and what it writes is the same, byte for byte, whatever the number of workers.
"""

import argparse
import csv
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from tqdm import tqdm

from face2exp_lib.faces.default_pack import DEFAULT_PARTS, UNLABELLED
from face2exp_lib.faces.render import render_face
from face2exp_lib.faces.spec import FaceSpec, SpecError, make_spec
from face2exp_lib.storage import write_bytes, write_text

RENDERER = 1  # raise when the same spec draws other pixels: packs made before are then redone
CHUNK_IMAGES = 100
WEBP_QUALITY, WEBP_EFFORT = 88, 6
ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # a fixed one, so that the same images give the same file
PUBLIC_COLUMNS = ("image", "identity")  # all that is told about an unlabelled face


@dataclass(frozen=True)
class Part:
    """One set of a pack.

    Attributes:
        name: of its files.
        spec: what it shows.
        labelled: if not, NAME.csv tells image and identity only, and the truth lies in
            NAME_truth.csv.
    """

    name: str
    spec: FaceSpec
    labelled: bool

    @property
    def digest(self) -> str:
        """Names the content: the spec, the labelling and the renderer."""
        content = [RENDERER, self.labelled, asdict(self.spec)]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def is_whole(self, out: Path) -> bool:
        """Whether the files in `out` hold exactly this part. The table is written last."""
        try:
            with zipfile.ZipFile(out / f"{self.name}.zip") as archive:
                made_of = archive.comment.decode()
        except (OSError, zipfile.BadZipFile):
            return False
        return made_of == self.digest and (out / f"{self.name}.csv").exists()


def image_name(index: int) -> str:
    """File name of an image in its zip."""
    return f"{index:06d}.webp"


def encode_webp(image: np.ndarray) -> bytes:
    """An image as a WebP file."""
    stored = io.BytesIO()
    Image.fromarray(image).save(stored, "WEBP", quality=WEBP_QUALITY, method=WEBP_EFFORT)
    return stored.getvalue()


def make_zip(files: Iterable[tuple[str, bytes]], comment: str = "") -> bytes:
    """An uncompressed zip that depends on nothing but its files."""
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = comment.encode()
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name, ZIP_TIME), content)
    return stored.getvalue()


def make_table(rows: list[dict[str, str]], columns: Iterable[str]) -> str:
    """CSV text of the named columns."""
    stored = io.StringIO()
    writer = csv.DictWriter(stored, list(columns), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stored.getvalue()


def render_chunk(job: tuple[FaceSpec, int, Path]) -> None:
    """Render one chunk into one file, unless it is there already."""
    spec, chunk, path = job
    if path.exists():
        return
    files, rows = [], []
    for index in range(chunk * CHUNK_IMAGES, min((chunk + 1) * CHUNK_IMAGES, spec.count)):
        image, record = render_face(spec, index)
        files.append((image_name(index), encode_webp(image)))
        rows.append({"image": image_name(index), **record.row()})
    write_bytes(path, make_zip([*files, ("rows.json", json.dumps(rows).encode())]))


def write_part(part: Part, out: Path, workers: int = 1) -> None:
    """Write `NAME.zip`, `NAME.csv` and, if unlabelled, `NAME_truth.csv` into `out`.

    Raises:
        Face2ExpError: if `out` cannot be written or is full; what is done so far is kept.
    """
    if part.is_whole(out):
        return
    name, spec = part.name, part.spec
    staging = out / f".{name}.{part.digest[:12]}"
    num_chunks = -(-spec.count // CHUNK_IMAGES)
    chunks = [staging / f"{chunk:06d}.zip" for chunk in range(num_chunks)]
    jobs = [(spec, chunk, path) for chunk, path in enumerate(chunks)]
    with tqdm(total=spec.count, desc=name, unit="face") as bar:
        for _ in _run(jobs, workers):
            bar.update(min(CHUNK_IMAGES, spec.count - bar.n))
    files: list[tuple[str, bytes]] = []
    rows: list[dict[str, str]] = []
    for path in chunks:
        with zipfile.ZipFile(path) as archive:
            rows += json.loads(archive.read("rows.json"))
            files += [(file, archive.read(file)) for file in archive.namelist()[:-1]]
    (out / f"{name}.csv").unlink(missing_ok=True)  # an older part stops being whole here
    write_bytes(out / f"{name}.zip", make_zip(files, part.digest))
    if part.labelled:
        write_text(out / f"{name}.csv", make_table(rows, rows[0]))
    else:
        write_text(out / f"{name}_truth.csv", make_table(rows, rows[0]))
        write_text(out / f"{name}.csv", make_table(rows, PUBLIC_COLUMNS))
    shutil.rmtree(staging)


def _run(jobs: list[tuple[FaceSpec, int, Path]], workers: int) -> Iterator[None]:
    if workers == 1:
        yield from map(render_chunk, jobs)
        return
    # spawn, not fork: a forked child of a process with threads may hang
    with get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(render_chunk, jobs)


def write_pack(parts: list[Part], out: Path, workers: int = 1) -> None:
    """Write every part that is not yet whole, then `spec.yaml`, which remakes them all."""
    for part in parts:
        write_part(part, out, workers)
    content = {
        "unlabelled": [part.name for part in parts if not part.labelled],
        "parts": {part.name: json.loads(json.dumps(asdict(part.spec))) for part in parts},
    }
    write_text(out / "spec.yaml", yaml.safe_dump(content, sort_keys=False))


def load_parts(path: Path | None) -> list[Part]:
    """The parts that a file like `spec.yaml` lists; without a file, those of the default pack.

    Raises:
        SpecError: if the file or one of its specs is wrong.
    """
    content: Any = {"unlabelled": UNLABELLED, "parts": DEFAULT_PARTS}
    if path is not None:
        try:
            content = yaml.safe_load(path.read_text())
        except (OSError, yaml.YAMLError) as error:
            raise SpecError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("parts"), dict):
        raise SpecError(f"{path}: needs a mapping 'parts' from part name to face spec")
    unknown = sorted(set(content) - {"parts", "unlabelled"})
    if unknown:
        raise SpecError(f"{path}: unknown key '{unknown[0]}': use parts and unlabelled")
    unlabelled = content.get("unlabelled") or []
    for name in unlabelled:
        if name not in content["parts"]:
            raise SpecError(f"{path}: unlabelled: there is no part '{name}' among parts")
    for name in content["parts"]:
        if not isinstance(name, str) or not name.replace("_", "").replace("-", "").isalnum():
            raise SpecError(f"{path}: part name '{name}' must be letters, digits, - and _")
    return [
        Part(name, make_spec(values), labelled=name not in unlabelled)
        for name, values in content["parts"].items()
    ]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m face2exp_lib.faces.pack", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument("--spec", type=Path, help="a file like spec.yaml (default: built in)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    arguments = parser.parse_args()
    write_pack(load_parts(arguments.spec), arguments.out, arguments.workers)


if __name__ == "__main__":
    main()
