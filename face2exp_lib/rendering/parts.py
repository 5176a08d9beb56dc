"""The parts of a pack, and the YAML file that lists them."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from face2exp_lib.rendering.spec import FaceSpec, SpecError, make_spec

RENDERER = 3  # raise when the same spec draws other pixels: packs made before are then redone
PUBLIC_COLUMNS = ("image", "identity")  # all that is told about an unlabelled face
LARGEST_SPEC_FILE = 2**20  # bytes; whatever is larger is no spec

Row = dict[str, str]
"""What is told about an image; `row["image"]` is its name."""


@dataclass(frozen=True)
class Part:
    """One set of a pack.

    Attributes:
        name: of its files.
        spec: what it shows.
        labelled: if not, images and NAME.csv tell image and identity only, and the truth lies in
            NAME_truth.csv.
    """

    name: str
    spec: FaceSpec
    labelled: bool = True

    @property
    def digest(self) -> str:
        """Names the content: the spec, the labelling and the renderer."""
        content = [RENDERER, self.labelled, asdict(self.spec)]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def tables(self) -> list[str]:
        """File names of its tables, the one that makes it whole last."""
        return (
            [f"{self.name}.csv"]
            if self.labelled
            else [f"{self.name}_truth.csv", f"{self.name}.csv"]
        )

    def public(self, row: Row) -> Row:
        """What of a row is told beside the image."""
        return row if self.labelled else {column: row[column] for column in PUBLIC_COLUMNS}


def read_spec_file(path: Path) -> bytes:
    """The content of a spec file.

    Raises:
        SpecError: if it is no file, cannot be read or is too large.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_SPEC_FILE + 1)
    except FileNotFoundError as error:
        raise SpecError(f"{path}: no such file: give a YAML file with a face spec") from error
    except IsADirectoryError as error:
        raise SpecError(f"{path}: is a folder: give the YAML file in it") from error
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror})") from error
    if len(content) > LARGEST_SPEC_FILE:
        raise SpecError(f"{path}: is over 1 MB and no spec: give a YAML file with a face spec")
    return content


def load_parts(path: Path) -> list[Part]:
    """The parts of a spec file: see `parse_parts`."""
    return parse_parts(read_spec_file(path), path)


def parse_parts(content: bytes, path: Path) -> list[Part]:
    """The parts that a spec file lists.

    It holds either the fields of one `FaceSpec`, or `parts`, a mapping from a part's name to such
    fields, and optionally `unlabelled`, a list of names of parts. A lone spec is named by its
    `purpose`, else by the file; a part's `purpose` is its name, unless it is given.

    Args:
        content: YAML text.
        path: of the file, for its name and for messages.

    Raises:
        SpecError: naming the file, the part and the field at fault.
    """
    try:
        loaded: Any = yaml.safe_load(content)
    except (yaml.YAMLError, IndexError, RecursionError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise SpecError(f"{path}: not readable as YAML: {problem}") from error
    if not isinstance(loaded, dict):
        raise SpecError(f"{path}: holds no spec: expected fields, or parts, as `key: value` lines")
    if "parts" not in loaded:
        return [_part(str(loaded.get("purpose", path.stem)), loaded, True, path)]
    unknown = [key for key in loaded if key not in ("parts", "unlabelled")]
    if unknown:
        raise SpecError(f"{path}: unknown key {unknown[0]!r} beside parts: use unlabelled")
    parts, unlabelled = loaded["parts"], loaded.get("unlabelled", [])
    if not isinstance(parts, dict) or not parts:
        raise SpecError(f"{path}: parts: needs a mapping from part name to the fields of its spec")
    if not isinstance(unlabelled, list):
        raise SpecError(f"{path}: unlabelled: needs a list of names of parts, as in [a, b]")
    for name in unlabelled:
        if not isinstance(name, str) or name not in parts:
            raise SpecError(f"{path}: unlabelled: there is no part {name!r} among parts")
        if f"{name}_truth" in parts:
            raise SpecError(f"{path}: part '{name}_truth': {name} keeps its truth there: rename it")
    return [_part(name, fields, name not in unlabelled, path) for name, fields in parts.items()]


def _part(name: Any, fields: Any, labelled: bool, path: Path) -> Part:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise SpecError(
            f"{path}: part name {name!r:.80} must be up to 64 letters, digits, - and _ (a spec "
            "without parts is named by its purpose, else by its file)"
        )
    try:
        if isinstance(fields, dict):
            fields = {"purpose": name, **fields}
        return Part(name, make_spec(fields), labelled)
    except SpecError as error:
        raise SpecError(f"{path}: part '{name}': {error}") from error
