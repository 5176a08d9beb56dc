"""One way to read a set for every verb: its format, and what looks wrong with its labels.

A swapped pair of classes is invisible in the loss curve, so whoever reads a labelled set is told
when its counts fit a published set better in another order, or its parts look mixed up.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from face2exp_lib.data.formats.codes import ranked
from face2exp_lib.data.formats.format import Format
from face2exp_lib.data.formats.paths import PARTS
from face2exp_lib.data.formats.published import (
    Published,
    comparable,
    distance_in_any_order,
    fitting_order,
    nearest,
)
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.labels import CODES, Codes, class_names, own_codes
from face2exp_lib.runtime.errors import Face2ExpError

# The published set whose codes a table has.
SET_OF_CODES = {"fer2013_from_1": "fer2013", "rafdb_from_0": "rafdb"}
ANY_SET = ("class_folders", "listed")  # layouts that may hold any set
# How far the shares of labels that are names may be from published ones, whatever the order
# (total variation), so that they are taken for a part of that set; and of how many images.
SAME_SHARES, MIN_IMAGES = 0.03, 500


def read_set(
    adapter: Format, path: Path, part: str, codes: Codes | None, *, skip_bad: bool
) -> FaceSet:
    """One part of a set; `FaceSet.notes` has what looks wrong with its labels.

    Raises:
        Face2ExpError: as `formats.format.Reader`.
    """
    faces = adapter.read(path, part, codes, skip_bad)
    if faces.labels is None:
        return faces
    counts, is_train = label_counts(faces), PARTS.get(part.lower())
    published = published_like(adapter, faces, part)
    return replace(
        faces,
        notes=(
            *faces.notes,
            *_about_parts(faces, part, published, is_train),
            *_about_sums(adapter, counts),
            *_about_order(faces.codes, counts, published),
            *_about_folders(faces, adapter),
        ),
    )


def read_codes(text: str) -> Codes:
    """What a command line says about labels: the name of a table, or a YAML file of one's own.

    Raises:
        Face2ExpError: if it is neither, or the file means nothing.
    """
    if text in CODES:
        return text
    path = Path(text).expanduser()
    if not path.is_file():
        raise Face2ExpError(
            f"--codes {text}: neither a table nor a file: take {', '.join(CODES)}, or a YAML file "
            "of lines like `0: anger`"
        )
    try:
        mapping = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Face2ExpError(f"{path}: not readable as YAML: write lines like `0: anger`") from error
    if not isinstance(mapping, dict):
        raise Face2ExpError(f"{path}: no mapping: write lines like `0: anger`")
    try:
        return own_codes(mapping)
    except Face2ExpError as error:
        raise Face2ExpError(f"{path}: {error}") from error


def label_counts(faces: FaceSet) -> dict[str, int]:
    """Class name -> number of images, zeros included; empty without labels."""
    if faces.labels is None:
        return {}
    counts = Counter(faces.labels.tolist())
    return {name: counts[code] for code, name in enumerate(class_names(8))}


def published_like(adapter: Format, faces: FaceSet, part: str) -> Published | None:
    """The published part to compare a labelled set with, if there is one.

    Where the layout or the codes are those of one set, its shares decide; labels of any set, by
    name, are compared only if as many images are published, or in the very same shares.
    """
    counts = label_counts(faces)
    of_codes = SET_OF_CODES.get(faces.codes, faces.codes)
    candidates: Sequence[Published] = adapter.published
    if adapter.name in ANY_SET:
        candidates = [p for p in adapter.published if p.codes == of_codes] or [
            p
            for p in adapter.published
            if _near(sum(counts.values()), p, counts) or _same_shares(counts, p)
        ]
    return nearest(counts, candidates, is_train=PARTS.get(part.lower()))


def _near(total: int, published: Published, counts: dict[str, int]) -> bool:
    of_published = sum(comparable(counts, published).values())
    return abs(total - of_published) <= 0.02 * of_published


def _same_shares(counts: dict[str, int], published: Published) -> bool:
    """Whether the counts are a small copy of the published ones, which have to tell something: as
    many images of each class do not."""
    return (
        sum(counts.values()) >= MIN_IMAGES
        and len(set(published.counts.values())) > 1
        and distance_in_any_order(counts, published) <= SAME_SHARES
    )


def _about_order(codes: str, counts: dict[str, int], published: Published | None) -> list[str]:
    if published is None:
        return []
    order = fitting_order(counts, comparable(counts, published))
    if not order:
        return []
    pairs = [f"{a} and {b}" for a, b in order.items() if order.get(b) == a and a < b]
    rest = [f"{a} as {b}" for a, b in order.items() if order.get(b) != a]
    exchanged = [f"{pair} look exchanged" for pair in pairs]
    renamed = (
        [
            f"as many images are labelled as {published.title} has of other classes: "
            f"{', '.join(rest)}"
        ]
        if rest
        else []
    )
    table = _table_of(codes, counts)
    return [
        f"the class counts fit {published.title} better in another order: "
        f"{'; '.join([*exchanged, *renamed])}: check the label codes"
        + (f" (those of '{table}' are likeliest)" if table else "")
    ]


def _table_of(codes: str, counts: dict[str, int]) -> str | None:
    """The table by which the numbers behind these counts would be likeliest, if it is another."""
    if codes == "names" or codes not in CODES:
        return None
    numbers = {n: counts[label.name.lower()] for n, label in CODES[codes].items()}
    likely = ranked({number: count for number, count in numbers.items() if count})
    found = likely[0] if likely else (0.0, None, codes)
    return found[2] if found[1] and found[2] != codes else None


def _about_parts(
    faces: FaceSet, part: str, published: Published | None, is_train: bool | None
) -> list[str]:
    warnings = []
    begun = Counter(
        name.lower()
        for name in (image.rsplit("/", 1)[-1].split("_")[0] for image in faces.ids)
        if name.lower() in PARTS
    )
    if len(begun) > 1:
        names = ", ".join(f"{count} {name}_*" for name, count in sorted(begun.items()))
        warnings.append(f"images of several parts are mixed here, by their names: {names}")
    elif len(begun) == 1 and is_train is not None:
        (name,) = begun
        if PARTS[name] != is_train:
            warnings.append(f"the part is called {part}, its images {name}_*: are they mixed up?")
    if published and is_train is not None and published.is_train != is_train:
        warnings.append(f"the part is called {part}, but its counts are those of {published.title}")
    return warnings


def _about_sums(adapter: Format, counts: dict[str, int]) -> list[str]:
    """Whether there are as many images as all parts of a set hold together."""
    warnings = []
    for name in sorted({published.title.split()[0] for published in adapter.published}):
        parts = [p for p in adapter.published if p.title.split()[0] == name]
        sums: Counter[str] = Counter()
        for part in parts:
            sums.update(comparable(counts, part))
        if len(parts) > 1 and sums == Counter(counts):
            titles = " and ".join(part.title for part in parts)
            warnings.append(f"as many images as {titles} hold together: separate them")
    return warnings


def _about_folders(faces: FaceSet, adapter: Format) -> list[str]:
    if adapter.name != "class_folders":
        return []
    unknown = Counter(
        skipped.image.split("/")[0]
        for skipped in faces.skipped
        if "unknown label" in skipped.reason
    )
    return [
        f"folder '{name}' names no expression: its {count} images are left out"
        for name, count in unknown.items()
    ]
