"""What lies at a path: which layout, how many images of each class, what is wrong with it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from face2exp_lib.adapters import ADAPTERS
from face2exp_lib.adapters.adapter import Adapter
from face2exp_lib.adapters.folders import AMBIGUOUS, class_like, fits_numbered
from face2exp_lib.adapters.published import (
    AFFECTNET_TRAIN,
    FER2013_TRAIN,
    Published,
    comparable,
    fitting_order,
    nearest,
)
from face2exp_lib.errors import Face2ExpError
from face2exp_lib.facesets import FaceSet
from face2exp_lib.imagelists import write_table
from face2exp_lib.images import decode
from face2exp_lib.labels import class_names
from face2exp_lib.sampling import class_counts

FOLDERS = ("class_folders", "identity_folders")
MAX_INNER = 200  # folders below an outer one that are looked into
SIDE = 48  # px; every image is decoded once, to see whether that works
# Names of a part, of a folder or at the beginning of a file's name -> is it for training?
TRAINING_PARTS = {"train": True, "training": True, "train_set": True}
OTHER_PARTS = dict.fromkeys(
    ("test", "val", "valid", "validation", "val_set", "publictest", "privatetest"), False
)
PARTS = TRAINING_PARTS | OTHER_PARTS


@dataclass(frozen=True)
class Inspection:
    """One part of what was found.

    Attributes:
        format: the layout, as `data.*.format` of a config wants it.
        part: as `data.*.part` wants it.
        codes: the table in which its labels were looked up, as `data.*.codes` wants it.
        faces: the set; its `skipped` lists the rows that were left out.
        published: the part of a published set that its counts are like, if there is one.
        warnings: what looks wrong with it.
        unreadable: id -> message of each image that cannot be decoded.
    """

    format: str
    part: str
    codes: str
    faces: FaceSet
    published: Published | None
    warnings: list[str]
    unreadable: dict[str, str]

    @property
    def counts(self) -> dict[str, int]:
        """Class name -> number of images; empty without labels."""
        return {} if self.faces.labels is None else class_counts(self.faces.labels, class_names(8))

    @property
    def num_bad(self) -> int:
        """Images that cannot be read and rows that cannot be used."""
        return len(self.unreadable) + sum(skipped.bad for skipped in self.faces.skipped)

    def left_out(self) -> dict[str, list[str]]:
        """Reason -> images, the most frequent first."""
        images: dict[str, list[str]] = {}
        for skipped in self.faces.skipped:
            images.setdefault(skipped.reason, []).append(skipped.image)
        return dict(sorted(images.items(), key=lambda entry: -len(entry[1])))


def inspect(path: Path) -> list[Inspection]:
    """Recognise the layout at `path`, read every part of it and decode every image once.

    Raises:
        Face2ExpError: if nothing is there, no known layout fits, or the set lies further inside.
    """
    if not path.exists():
        raise Face2ExpError(f"{path}: no such file or folder")
    return [_inspect_part(path, *found) for found in recognise(path)]


def write_bad(found: list[Inspection], path: Path) -> int:
    """Write a csv of what cannot be read and what was left out, as `data.drop` takes it.

    Training has to drop what cannot be read; what its reader leaves out is no more in the set.

    Returns:
        Number of rows.
    """
    rows = []
    for part in found:
        name = part.faces.name
        rows += [(name, skipped.image, "no", skipped.reason) for skipped in part.faces.skipped]
        rows += [(name, image, "yes", reason) for image, reason in part.unreadable.items()]
    write_table(path, ("set", "image", "drop", "reason"), rows)
    return len(rows)


def recognise(path: Path) -> list[tuple[Adapter, str, str, list[str]]]:
    """Adapter, part and codes of everything at the path, with a first warning or none."""
    found = _specific(path)
    if not found and path.is_file():
        raise Face2ExpError(
            f"{path}: no layout fits: a file must be fer2013.csv (emotion,pixels,Usage) or a csv "
            "with the columns path,label"
        )
    if not found:
        classes, persons = (
            [(ADAPTERS[name], *part) for part in ADAPTERS[name].recognise(path)] for name in FOLDERS
        )
        if not classes:
            inner = sorted(_inner_sets(path))
            if inner:
                raise Face2ExpError(f"{path}: an outer folder: inspect {' or '.join(inner)}")
        apart = [part for _, part, _ in persons if part and _specific(path / part)]
        warnings = [f"{part} is a set by itself: inspect {path / part}" for part in apart]
        found = [*classes, *(entry for entry in persons if entry[1] not in apart)]
        return [(*entry, warnings if entry is found[0] else []) for entry in found]
    return [(*entry, []) for entry in found]


def _specific(path: Path) -> list[tuple[Adapter, str, str]]:
    return [
        (adapter, part, codes)
        for adapter in ADAPTERS.values()
        if adapter.name not in FOLDERS
        for part, codes in adapter.recognise(path)
    ]


def _inner_sets(path: Path) -> Iterator[str]:
    """Folders one or two levels below that are sets by themselves, with their layouts."""
    below = [inner for child in class_like(path) for inner in (child, *class_like(child))]
    claimed: list[Path] = []
    for inner in islice(below, MAX_INNER):
        if any(outer in inner.parents for outer in claimed):
            continue
        formats = {adapter.name for adapter, _, _ in _specific(inner)}
        if not formats and ADAPTERS["class_folders"].recognise(inner):
            formats = {"class_folders"}
        if formats:
            claimed.append(inner)
            yield f"{inner} ({', '.join(sorted(formats))})"


def _inspect_part(
    path: Path, adapter: Adapter, part: str, codes: str, warnings: list[str]
) -> Inspection:
    faces = adapter.read(path, part, codes, skip_bad=True)
    published = None
    if faces.labels is not None:
        counts = class_counts(faces.labels, class_names(8))
        is_train = PARTS.get(part.lower())
        published = _published(adapter, codes, counts, is_train)
        warnings = [
            *warnings,
            *_about_parts(faces, part, published, is_train),
            *_about_sums(adapter, counts),
            *_about_order(counts, published),
            *_about_folders(faces, adapter, codes),
        ]
    return Inspection(adapter.name, part, codes, faces, published, warnings, _unreadable(faces))


def _published(
    adapter: Adapter, codes: str, counts: dict[str, int], is_train: bool | None
) -> Published | None:
    """The published part to compare with.

    Where the layout or the codes are those of one set, its shares decide; folders of any set, named
    by class, are compared only if as many images are published.
    """
    if codes != "names" or adapter.name not in ("class_folders", "listed"):
        candidates = [p for p in adapter.published if p.codes == codes]
    else:
        total = sum(counts.values())
        candidates = [p for p in adapter.published if _near(total, p, counts)]
    return nearest(counts, candidates, is_train=is_train)


def _near(total: int, published: Published, counts: dict[str, int]) -> bool:
    of_published = sum(comparable(counts, published).values())
    return abs(total - of_published) <= 0.02 * of_published


def _about_order(counts: dict[str, int], published: Published | None) -> list[str]:
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
    return [
        f"the class counts fit {published.title} better in another order: "
        f"{'; '.join([*exchanged, *renamed])}: check the label codes"
    ]


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


def _about_sums(adapter: Adapter, counts: dict[str, int]) -> list[str]:
    """Whether there are as many images as all parts of a set hold together."""
    warnings = []
    for codes in sorted({published.codes for published in adapter.published}):
        parts = [p for p in adapter.published if p.codes == codes]
        sums: Counter[str] = Counter()
        for part in parts:
            sums.update(comparable(counts, part))
        if len(parts) > 1 and sums == Counter(counts):
            titles = " and ".join(part.title for part in parts)
            warnings.append(f"as many images as {titles} hold together: separate them")
    return warnings


def _about_folders(faces: FaceSet, adapter: Adapter, codes: str) -> list[str]:
    if adapter.name != "class_folders":
        return []
    warnings = []
    unknown = Counter(
        skipped.image.split("/")[0]
        for skipped in faces.skipped
        if "unknown label" in skipped.reason
    )
    for name, count in unknown.items():
        warnings.append(f"folder '{name}' names no expression: its {count} images are left out")
    counts = Counter(image.split("/")[0] for image in faces.ids)
    if counts.keys() == AMBIGUOUS and codes in ("fer2013", "affectnet"):
        train = {p.codes: p for p in (FER2013_TRAIN, AFFECTNET_TRAIN)}
        why = "their counts are like it" if fits_numbered(counts, train[codes]) else "a guess"
        other = "affectnet" if codes == "fer2013" else "fer2013"
        warnings.append(
            "folders 0 to 6 may hold FER2013's codes (0 anger) or AffectNet's (0 neutral): read as "
            f"{codes} ({why}); if that is wrong, set codes: {other}"
        )
    return warnings


def _unreadable(faces: FaceSet) -> dict[str, str]:
    messages = {}
    for row in tqdm(faces.rows, desc=f"decode {faces.name}", leave=False, delay=2):
        try:
            decode(faces.images, int(row), SIDE)
        except Face2ExpError as error:
            messages[faces.images.ids[int(row)]] = str(error)
    return messages
