"""Tars that others wrote become sets of shards: listed, streamed, trained on."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset
from filelock import FileLock

from face2exp_lib.config import RunConfig
from face2exp_lib.data.formats.shards import read_shards
from face2exp_lib.data.sets.images import decode
from face2exp_lib.data.shards.check import shard_problems
from face2exp_lib.data.shards.reader import read_shard_set
from face2exp_lib.data.shards.writer import INDEXED, content_digest, read_remarks, table_of
from face2exp_lib.data.stream_order import open_stream
from face2exp_lib.preparation import shard_index
from face2exp_lib.preparation.shard_index import Indexed, index_tars
from face2exp_lib.runtime import storage
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.training.loop import train
from tests.data.formats.trees import jpeg
from tests.data.shards.small_shards import numbers, sharded, tiny
from tests.preparation.test_shard_tables import tar

Contents = Callable[[Path], dict[str, bytes]]
WORDS = ("neutral", "happy", "surprise", "sad", "anger", "disgust", "fear")

pytestmark = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)


def written(folder: Path, count: int = 25, per_tar: int = 10, name: str = "web") -> Path:
    """By WebDataset's own writer, keys and classes beside tiny images that show their number."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(-(-count // per_tar)):
        with webdataset.TarWriter(str(folder / f"{name}-{number:04d}.tar")) as out:
            for n in range(number * per_tar, min((number + 1) * per_tar, count)):
                out.write({"__key__": f"{n:06d}", "png": tiny(n), "txt": WORDS[n % 7]})
    return folder


def only(folder: Path, **options: object) -> Indexed:
    (one,) = index_tars(folder, **options)  # type: ignore[arg-type]
    return one


def test_what_webdataset_wrote_is_read_and_streamed(tmp_path: Path, contents: Contents) -> None:
    folder = written(tmp_path / "set")
    before = contents(folder)
    one = only(folder)
    assert (one.skipped, one.labelled, +one.left_out, +one.unlabelled) == ([], 25, {}, {})
    after = contents(folder)
    assert {name: after[name] for name in before} == before
    assert {name for name in after if name[0] != "."} - before.keys() == {
        "web.json", "web-0000.parquet", "web-0001.parquet", "web-0002.parquet",
    }  # fmt: skip
    assert read_shard_set(folder, "web") == one.shards
    faces = read_shards(folder, "", "")
    assert faces.ids[11] == "web-0001.tar/000011.png"
    assert faces.known_labels().tolist() == [n % 7 for n in range(25)]
    assert [numbers(decode(faces.images, n, 8)[None])[0] for n in (0, 11, 24)] == [0, 11, 24]
    stream = open_stream(folder, "web")
    assert len(stream) == 25
    assert stream.without({faces.ids[3]}, {faces.digests()[11]})[1:3] == (1, 1)
    assert list(shard_problems(one.shards)) == []


def test_a_run_trains_on_them(
    tmp_path: Path, tiny: Callable[..., RunConfig], squares_root: Path
) -> None:
    folder = written(tmp_path / "set")
    index_tars(folder)
    config = tiny(f"data.unlabelled={{format: shards, path: {folder}}}")
    train(config, tmp_path / "run", squares_root)
    record = json.loads((tmp_path / "run" / "data.json").read_text())
    assert record["sets"]["unlabelled"]["num_images"] == 25


def test_workers_and_a_second_run_change_nothing(tmp_path: Path, contents: Contents) -> None:
    first = written(tmp_path / "a")
    second = Path(shutil.copytree(first, tmp_path / "b"))
    index_tars(first)
    index_tars(second, workers=2)
    whole = contents(first)
    assert contents(second) == whole
    (first / "web-0001.parquet").unlink()
    times = {path.name: path.stat().st_ino for path in first.glob("*.parquet")}
    index_tars(first)
    assert contents(first) == whole
    assert {name: (first / name).stat().st_ino for name in times} == times


def test_sets_by_the_names_of_their_tars(tmp_path: Path) -> None:
    folder = tmp_path / "laion"
    for name in ("train-000", "train-001", "val_0", "00000", "a b.7", "odd"):
        tar(folder / f"{name}.tar", [("0.jpg", jpeg(0))])
    found = {one.shards.name: [s.url for s in one.shards.shards] for one in index_tars(folder)}
    assert found == {
        "a-b": ["a b.7.tar"],
        "laion": ["00000.tar"],
        "odd": ["odd.tar"],
        "train": ["train-000.tar", "train-001.tar"],
        "val": ["val_0.tar"],
    }
    assert len(read_shards(folder, "train", "")) == 2


def test_an_index_of_wids_gets_tables_and_keeps_what_it_says(tmp_path: Path) -> None:
    """Without sizes, as `widsindex` may leave them out, under a name of its own."""
    folder = written(tmp_path / "set", 20)
    entries = [{"url": f"web-000{n}.tar", "nsamples": 10} for n in (1, 0)]
    index = {
        "__kind__": "wids-shard-index-v1",
        "wids_version": 1,
        "info": "x",
        "shardlist": entries,
    }
    (folder / "mine.json").write_text(json.dumps(index))
    assert len(read_shards(folder, "", "")) == 20
    with pytest.raises(
        Face2ExpError, match=r"lists no tables, .* data shard --index .*set` writes"
    ):
        open_stream(folder, "")
    index_tars(folder)
    content = json.loads((folder / "mine.json").read_text())
    assert content["info"] == "x"
    assert [entry["url"] for entry in content["shardlist"]] == ["web-0000.tar", "web-0001.tar"]
    assert all(entry["filesize"] and entry["table_digest"] for entry in content["shardlist"])
    assert len(open_stream(folder, "")) == 20
    assert sorted(path.name for path in folder.glob("*.json")) == ["mine.json"]


def test_tars_that_came_later_join_their_set(tmp_path: Path) -> None:
    folder = written(tmp_path / "set", 20)
    index_tars(folder)
    written(tmp_path / "more", 30)
    shutil.copy(tmp_path / "more" / "web-0002.tar", folder)
    assert len(only(folder).shards.shards) == 3
    assert len(open_stream(folder, "")) == 30


def test_our_own_shards_stay_as_they_are(tmp_path: Path, contents: Contents) -> None:
    sharded(tmp_path, 25, 10)
    before = contents(tmp_path)
    one = only(tmp_path)
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before
    assert one.shards == read_shard_set(tmp_path, "numbered")
    (tmp_path / "numbered.json").unlink()
    with pytest.raises(
        Face2ExpError, match="'numbered' was begun by `face2exp data shard`, and not"
    ):
        index_tars(tmp_path)
    (tmp_path / ".numbered.job.json").unlink()
    path = tmp_path / "numbered-000001.tar"
    content = path.read_bytes()
    path.write_bytes(content[:700] + b"\1" + content[701:])
    with pytest.raises(
        Face2ExpError, match=r"000001\.tar: .*not the one that `face2exp data shard`"
    ):
        index_tars(tmp_path)


def test_another_folder_gets_links(
    tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For folders that are read only, or hold tables of their own by that name."""
    folder, out = written(tmp_path / "set"), tmp_path / "new" / "out"
    (folder / "web-0000.parquet").write_bytes(b"theirs")
    before = contents(folder)
    with pytest.raises(Face2ExpError, match=r"web-0000\.parquet: lies where .* with --out"):
        index_tars(folder)
    monkeypatch.chdir(tmp_path)
    one = only(Path("set"), out=out)
    assert only(folder, out=out) == one
    assert {name for name in contents(folder) if name[0] != "."} == before.keys()
    assert len(read_shards(out, "", "")) == 25
    (out / "web-0000.tar").unlink()
    (out / "web-0000.tar").write_bytes(b"other")
    with pytest.raises(
        Face2ExpError, match=r"out/web-0000\.tar: cannot link to .*: choose another"
    ):
        index_tars(folder, out)


@pytest.mark.parametrize("name", ["a.tar.gz", "a.TGZ", "a.tar.zst", "a.tbz2"])
def test_compressed_tars_are_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    written(tmp_path, 5)
    with pytest.raises(Face2ExpError, match=rf"{name}: compressed, .*unpack it to a \.tar"):
        index_tars(tmp_path)
    shutil.copy(tmp_path / "web-0000.tar", tmp_path / "a.tar")
    assert [one.shards.name for one in index_tars(tmp_path)] == ["a", "web"]


def test_folders_without_tars(tmp_path: Path) -> None:
    with pytest.raises(Face2ExpError, match=r"gone: no such file or directory: give the folder"):
        index_tars(tmp_path / "gone")
    with pytest.raises(Face2ExpError, match=r"no \.tar in this folder: give one that has some"):
        index_tars(tmp_path)
    written(tmp_path / "train", 5)
    with pytest.raises(
        Face2ExpError, match=r"no \.tar in this folder: index .*/train, each folder"
    ):
        index_tars(tmp_path)
    tar(tmp_path / "empty" / "a.tar", [("readme.md", b"")])
    with pytest.raises(Face2ExpError, match=r"empty/a\.tar: no image in it"):
        index_tars(tmp_path / "empty")
    (tmp_path / "train" / "b:c.tar").write_bytes(b"")
    with pytest.raises(Face2ExpError, match=r"b:c\.tar: no name of a shard: rename it"):
        index_tars(tmp_path / "train")


def test_nothing_of_another_kind_is_overwritten(tmp_path: Path) -> None:
    folder = written(tmp_path / "set", 5)
    (folder / "web.json").write_text('{"mine": 1}')
    with pytest.raises(
        Face2ExpError, match=r"web\.json: lies where the index belongs, and is none"
    ):
        index_tars(folder)
    assert (folder / "web.json").read_text() == '{"mine": 1}'
    (folder / "web.json").unlink()
    with (
        FileLock(folder / ".web.lock"),
        pytest.raises(Face2ExpError, match="another process is writing 'web' there"),
    ):
        index_tars(folder)


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before the tars are read, and with a way out."""
    folder = written(tmp_path / "set", 5)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    monkeypatch.setattr(shard_index, "index_tar", lambda job: pytest.fail("read too early"))
    with pytest.raises(Face2ExpError, match=r"cannot write here \(Read-only file system\): choose"):
        index_tars(folder)


def test_skipped_images_are_told_again(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar", [("0.jpg", jpeg(0)), ("1.jpg", b"broken")])
    (one,) = index_tars(tmp_path, skip_bad=True)
    assert [image for image, _ in one.skipped] == ["a.tar/1.jpg"]
    (again,) = index_tars(tmp_path, skip_bad=True)
    assert again == one
    with pytest.raises(Face2ExpError, match=r"an earlier run left 1 images out, such as a\.tar/1"):
        index_tars(tmp_path)


def test_an_interrupted_run_leaves_no_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "set")
    write = storage.write_bytes

    def stop(path: Path, content: bytes) -> None:
        if path.name == "web-0001.parquet":
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr("face2exp_lib.preparation.shard_tables.write_bytes", stop)
    with pytest.raises(KeyboardInterrupt):
        index_tars(folder)
    assert {path.name for path in folder.glob("*.*") if path.name[0] != "."} == {
        "web-0000.parquet", "web-0000.tar", "web-0001.tar", "web-0002.tar",
    }  # fmt: skip
    monkeypatch.undo()
    assert np.array_equal(only(folder).shards.starts, [0, 10, 20, 25])


def test_verify_names_what_is_wrong(tmp_path: Path) -> None:
    folder = written(tmp_path / "set")
    shards = only(folder).shards
    path = folder / "web-0001.tar"
    content = path.read_bytes()
    path.write_bytes(content[:600] + b"\1" + content[601:])
    (problem,) = shard_problems(shards)
    assert problem.startswith(f"{path}: not the shard that was listed")
    path.write_bytes(content)
    table = path.with_suffix(".parquet")
    rows = {**pq.read_table(table).to_pydict(), "offset": list(range(0, 5120, 512))}
    made = read_remarks(folder, path.name)
    assert made is not None
    table.write_bytes(table_of(made[0], rows, {INDEXED: {}}))
    changed = list(shards.shards)
    changed[1] = replace(changed[1], table_digest=content_digest(table.read_bytes()))
    (problem,) = shard_problems(replace(shards, shards=tuple(changed)))
    assert "its table names places where no image is" in problem
