"""Whether shards are what their index and tables say."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from face2exp_lib.data.shards.reader import ShardSet
from face2exp_lib.data.shards.tar import members
from face2exp_lib.data.shards.writer import INDEXED, is_shard_name, read_remarks
from face2exp_lib.runtime.errors import Face2ExpError, in_words


def check_shard(shards: ShardSet, number: int) -> tuple[str, str]:
    """Read a whole shard and compare it with its table and entry.

    Returns:
        Its first and its last key; both empty if it holds no image.

    Raises:
        Face2ExpError: naming the file and what is wrong with it.
    """
    shard = shards.shards[number]
    path = shards.folder / shard.url
    try:
        if not shard.digest or not shard.table_digest:
            raise Face2ExpError(
                f"{path}: its index tells no digest to compare with: `face2exp data shard --index` "
                "writes one"
            )
        if file_digest(path) != shard.digest:
            raise ValueError("its bytes are not those that were listed")
        table = shards.table(number, ("image", "offset", "length"))
        names, offsets, lengths = (
            table[name].to_pylist() for name in ("image", "offset", "length")
        )
        found = members(path)
        remarks = read_remarks(shards.folder, shard.url)
        if remarks and INDEXED in remarks[1]:
            places = {(member.offset, member.size) for member in found if not member.problem}
            if not places.issuperset(zip(offsets, lengths, strict=True)):
                raise ValueError("its table names places where no image is")
            return "", ""
        keys: list[str] = []
        for name, offset, length in zip(names, offsets, lengths, strict=True):
            key = name.partition(".")[0]
            image, told = next(found, None), next(found, None)
            if image is None or told is None or image != (name, offset, length, ""):
                raise ValueError(f"its table says another place of {name}")
            if told.problem or told.name != f"{key}.json":
                raise ValueError(f"{key}.json is not beside {name}")
            if keys and key <= keys[-1]:
                raise ValueError(f"key {key} comes twice or out of order")
            keys.append(key)
        if next(found, None) is not None:
            raise ValueError("it holds more than its table lists")
    except (OSError, ValueError) as error:
        raise Face2ExpError(
            f"{path}: not the shard that was listed ({in_words(error)}): fetch or make it again"
        ) from error
    return (keys[0], keys[-1]) if keys else ("", "")


def shard_problems(shards: ShardSet) -> Iterator[str]:
    """Read a whole set; yields a message for each thing that is wrong with it."""
    last = ""
    bar = tqdm(total=sum(s.filesize for s in shards.shards), unit="B", unit_scale=True, delay=2)
    with bar:
        for number, shard in enumerate(shards.shards):
            try:
                first_key, last_key = check_shard(shards, number)
            except Face2ExpError as error:
                yield str(error)
            else:
                if first_key and first_key <= last:
                    yield (
                        f"{shards.folder / shard.url}: key {first_key} is not above those of the "
                        "shards before it: make the shards again"
                    )
                last = max(last, last_key)
            bar.update(shard.filesize)
    listed = {shard.url for shard in shards.shards}
    for path in sorted(shards.folder.glob(f"{shards.name}-*.tar")):
        if is_shard_name(path.name, shards.name) and path.name not in listed:
            yield f"{path}: not listed in {shards.name}.json: delete it, or make the shards again"


def file_digest(path: Path) -> str:
    """Of a file of any length, as `writer.content_digest`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
