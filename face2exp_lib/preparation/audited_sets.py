"""The sets that an audit looks at: each once, and what it is for."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from face2exp_lib.config import RunConfig
from face2exp_lib.data.formats.paths import OTHER_PARTS
from face2exp_lib.data.sets.facesets import FaceSet


@dataclass(frozen=True)
class AuditedSet:
    """A set and what it is for: nothing is ever dropped from one for evaluation."""

    faces: FaceSet
    evaluation: bool


def sets_of_config(config: RunConfig, data_root: Path | None) -> list[AuditedSet]:
    """The sets that a run reads. A validation part cut from the labelled set lies in that."""
    data = config.data
    sources = [
        (data.labelled, False),
        (data.validation, True),
        (data.test, True),
        (data.unlabelled, False),
    ]
    return [
        AuditedSet(source.read(data_root), evaluation)
        for source, evaluation in sources
        if source is not None
    ]


def distinct(sets: Sequence[AuditedSet]) -> list[AuditedSet]:
    """Each set once, by what it is, under a name of its own.

    One that is named twice, such as photos that are both labelled and, for the other network,
    unlabelled, is for evaluation if it is so anywhere, and has its labels if they are known. Where
    two are called alike, folders above are part of the name.
    """
    by_origin: dict[str, AuditedSet] = {}
    for number, one in enumerate(sets):
        key = one.faces.origin or f"{number}"
        known = by_origin.setdefault(key, one)
        faces = one.faces if known.faces.labels is None else known.faces
        by_origin[key] = AuditedSet(faces, known.evaluation or one.evaluation)
    left = list(by_origin.values())
    names = Counter(one.faces.name for one in left)
    return [
        replace(one, faces=replace(one.faces, name=_longer_name(one.faces, left)))
        if names[one.faces.name] > 1
        else one
        for one in left
    ]


def _longer_name(faces: FaceSet, sets: Sequence[AuditedSet]) -> str:
    """As much of the end of a set's path as tells it from the others."""
    ours = faces.origin.split("/")
    theirs = [one.faces.origin.split("/") for one in sets if one.faces.origin != faces.origin]
    for length in range(1, len(ours) + 1):
        if all(ours[-length:] != other[-length:] for other in theirs):
            return "/".join(ours[-length:])
    return faces.origin or faces.name


def for_evaluation(name: str) -> bool:
    """Whether a set's name says so: `FER2013/PublicTest`, `val_set`, `fer_test`."""
    last = name.rsplit("/", 1)[-1].lower()
    return last in OTHER_PARTS or bool({"test", "val"} & set(last.replace("-", "_").split("_")))
