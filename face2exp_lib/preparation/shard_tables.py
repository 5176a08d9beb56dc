"""The table of a tar that somebody else wrote.

WebDataset takes the members `KEY.END` for one sample, KEY being the name up to its first dot. The
one image among them is an image of the set, and what `KEY.json`, `KEY.cls` and `KEY.txt` tell of it
is believed where it can mean one thing only: class names are labels, numbers are none unless a code
table says so. As when shards are made, every image is decoded once.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from face2exp_lib.data.formats.shards import ShardImages
from face2exp_lib.data.sets.imagefiles import is_image, is_left_behind
from face2exp_lib.data.sets.images import decode_whole
from face2exp_lib.data.sets.labels import Codes, left_out, parse_label
from face2exp_lib.data.shards.check import file_digest
from face2exp_lib.data.shards.reader import ShardReader, ShardSet
from face2exp_lib.data.shards.tar import Member, members
from face2exp_lib.data.shards.writer import (
    INDEXED,
    SCHEMA,
    About,
    Shard,
    content_digest,
    read_remarks,
    table_name,
    table_of,
)
from face2exp_lib.preparation.sharding import readable
from face2exp_lib.runtime.errors import Face2ExpError, in_words
from face2exp_lib.runtime.storage import write_bytes

VERSION = 1
KEY = re.compile(r"((?:.*/)?[^./][^./]*)\.[^/]*")  # as WebDataset has it
LABELS = ("label", "expression", "emotion")  # keys of a KEY.json
MAX_TOLD_BYTES = 2**20  # beside an image
NO_IMAGE = "no image by the end of the name"
LEFT_BEHIND = "left behind by a system or a tool"


@dataclass(frozen=True)
class IndexJob:
    """One tar to be looked through.

    Attributes:
        tar: the file.
        codes: code table of labels that are numbers. With one, each image has to have a label.
        skip_bad: leave images out that cannot be used, instead of stopping at the first.
    """

    tar: Path
    codes: Codes | None
    skip_bad: bool


class Told(NamedTuple):
    """What is told beside an image.

    Attributes:
        label: `Expression` code, or None.
        identity: or None.
        lacking: why there is no label, though something is told.
        left_out: it is marked as showing no expression.
    """

    label: int | None
    identity: str | None
    lacking: str = ""
    left_out: bool = False


def index_tar(job: IndexJob) -> None:
    """Write the table of one tar, unless it is there and fits.

    Raises:
        Face2ExpError: if the tar cannot be read, or the table not be written; if an image cannot
            be used.
    """
    tar, recipe = job.tar, {"version": VERSION, "codes": job.codes}
    table = tar.with_name(table_name(tar.name))
    found = read_remarks(tar.parent, tar.name)
    if found is None and table.exists():
        raise Face2ExpError(
            f"{table}: lies where the table of {tar.name} belongs, and is none: name another "
            "folder with --out, or move it away"
        )
    try:
        shard = Shard(tar.name, 0, tar.stat().st_size, file_digest(tar))
        if found is not None:
            made, kept = found
            if made.digest == shard.digest and kept.get(INDEXED, recipe) == recipe:
                return
            if INDEXED not in kept:
                raise ValueError("it is not the one that `face2exp data shard` made")
        rows, remarks = _look_through(job, shard)
    except (OSError, ValueError) as error:
        raise Face2ExpError(
            f"{tar}: not readable as a tar ({in_words(error)}): fetch or make it again"
        ) from error
    columns = {name: [row[name] for row in rows] for name in SCHEMA.names}
    shard = replace(shard, nsamples=len(rows))
    write_bytes(table, table_of(shard, columns, {INDEXED: recipe, **remarks}))


def told_beside(told: Iterable[tuple[str, bytes]], codes: Codes | None) -> Told:
    """Label and identity of an image, where they can mean one thing only.

    Args:
        told: end of the name and content of each member beside it: json, cls or txt.
        codes: code table of labels that are numbers.
    """
    values: list[Any] = []
    identities: set[str] = set()
    lacking = ""
    for end, content in told:
        if end != "json":
            values.append(content.decode("utf-8", "replace"))
            continue
        try:
            held = json.loads(content)
        except (ValueError, RecursionError):
            lacking = "a .json that is none"
            continue
        values += [held[key] for key in LABELS if key in held] if isinstance(held, dict) else [held]
        person = _text(held.get("identity")) if isinstance(held, dict) else ""
        identities |= {person} if person else set()
    labels: set[int] = set()
    marked = False
    for text in filter(None, map(_text, values)):
        try:
            labels.add(_label(text, codes))
        except ValueError as error:
            lacking = str(error)
            marked |= _is_marked(text, codes)
    if len(labels) > 1 or (labels and marked):
        labels, marked, lacking = set(), False, "labels that contradict each other"
    label = labels.pop() if labels else None
    identity = identities.pop() if len(identities) == 1 else None
    return Told(label, identity, "" if label is not None else lacking, marked)


def _label(text: str, codes: Codes | None) -> int:
    try:
        return int(parse_label(text, codes or "names"))
    except Face2ExpError as error:
        if _is_marked(text, codes):
            raise ValueError("marked as no expression") from error
    if codes is None and re.fullmatch(r"-?[0-9]+", text):
        raise ValueError("a number, whose code table --codes would name")
    raise ValueError("no name of a class" if codes is None else "no label of the code table")


def _is_marked(text: str, codes: Codes | None) -> bool:
    """Whether a label says that there is no expression."""
    return left_out(text, codes or "names") is not None


def _text(value: Any) -> str:
    """A word or a whole number as text; empty for anything else."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() if type(value) in (str, int) else ""


def _look_through(job: IndexJob, shard: Shard) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of a tar's table, and what to keep with it."""
    notes, unlabelled = Counter[str](), Counter[str]()
    skipped: list[tuple[str, str]] = []

    def bad(name: str, reason: str) -> None:
        if not job.skip_bad:
            raise Face2ExpError(
                f"{job.tar}: {readable(name):.120}: {reason}; --skip-bad FILE leaves such images "
                "out and lists them"
            )
        skipped.append((readable(f"{shard.url}/{name}"), reason))

    samples: dict[str, list[Member]] = {}
    for member in members(job.tar):
        key = KEY.fullmatch(member.name)
        if _is_left_behind(member.name):
            notes[LEFT_BEHIND] += 1
        elif member.problem:
            bad(member.name, member.problem)
        elif key is None:
            notes[NO_IMAGE] += 1
        else:
            samples.setdefault(key[1], []).append(member)
    pictures: list[tuple[Member, list[Member]]] = []
    for group in samples.values():
        of_group = [member for member in group if is_image(member.name)]
        notes[NO_IMAGE] += 0 if of_group else len(group)
        if len(of_group) == 1:
            pictures.append((of_group[0], group))
        for member in of_group if len(of_group) > 1 else ():
            bad(member.name, "several images of one key")

    places = np.array([(image.offset, image.size) for image, _ in pictures], np.int64)
    ids = [readable(f"{shard.url}/{image.name}") for image, _ in pictures]
    alone = ShardSet(job.tar.parent, "", (shard,))
    images = ShardImages(alone, ids, np.zeros(len(ids), np.int64), *places.reshape(-1, 2).T)
    reader = ShardReader(alone, 1)
    rows = []
    for index, (image, group) in enumerate(pictures):
        told = told_beside(_sidecars(reader, group), job.codes)
        if job.codes is not None and told.left_out:
            notes[told.lacking] += 1
            continue
        if job.codes is not None and told.label is None:
            bad(image.name, told.lacking or "no label beside it")
            continue
        try:
            width, height = decode_whole(images, index).size
        except Face2ExpError as error:
            bad(image.name, str(error).removeprefix(f"{ids[index]}: "))
            continue
        unlabelled.update([told.lacking] if told.lacking else [])
        digest = bytes.fromhex(content_digest(images.read(index)))
        about = About(ids[index], width, height, digest, told.label, told.identity)
        place = {"image": readable(image.name), "offset": image.offset, "length": image.size}
        rows.append(about._asdict() | place)
    reader.close()
    labelled = sum(row["label"] is not None for row in rows)
    told_of = {"left_out": +notes, "unlabelled": unlabelled, "labelled": labelled}
    return rows, {"skipped": skipped, **told_of}


def _sidecars(reader: ShardReader, group: list[Member]) -> Iterator[tuple[str, bytes]]:
    for member in group:
        end = member.name.lower().rpartition(".")[2]
        if end in ("json", "cls", "txt") and member.size <= MAX_TOLD_BYTES:
            yield end, reader.read(0, member.offset, member.size)


def _is_left_behind(name: str) -> bool:
    """Whether a member is hidden or was put there by a system or a tool."""
    return any(is_left_behind(part) for part in name.split("/") if part not in (".", ".."))
