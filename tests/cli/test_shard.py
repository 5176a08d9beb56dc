"""`face2exp data shard` as a user meets it."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

from face2exp_lib.cli import shard as cli_shard
from face2exp_lib.cli.main import main
from face2exp_lib.preparation import sharding
from tests.cli.commands import Capture, fail, succeed
from tests.data.formats.trees import jpeg, labelled, pack, record
from tests.preparation.test_shard_tables import tar

pytestmark = [
    pytest.mark.usefixtures("no_real_faces"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]
ONE = ("--workers", 1)


@pytest.fixture
def people(squares_root: Path, tmp_path: Path) -> Path:
    """12 images of 6 persons, to be damaged."""
    return Path(shutil.copytree(squares_root / "people", tmp_path / "people"))


def test_shard_verify_inspect(capsys: Capture, people: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = succeed(capsys, "data", "shard", people, "--out", out, "--images-per-shard", 5, *ONE)
    assert told.startswith(f"{out}: people, 12 images in 3 shards, 0.")
    assert succeed(capsys, "data", "shard", people, "--out", out, "--images-per-shard", 5) == told
    told = succeed(capsys, "data", "shard", "--verify", out)
    assert told == f"{out}: people, 12 images in 3 shards: as listed\n"
    told = succeed(capsys, "data", "inspect", out)
    assert "out/people: format shards, 12 images" in told


def test_size_and_part(capsys: Capture, squares_root: Path, tmp_path: Path) -> None:
    source, out = f"{squares_root / 'squares'}:train", tmp_path / "out"
    options = ("--size", 32, "--quality", 80, "--seed", 3, *ONE)
    told = succeed(capsys, "data", "shard", source, "--out", out, *options)
    assert "squares-train, 48 images in 1 shards" in told
    message = fail(capsys, "data", "shard", source, "--out", out, "--size", 48, *ONE)
    assert "holds shards of 'squares-train' made with another size, quality, seed" in message
    assert "squares/test, squares/train" in fail(
        capsys, "data", "shard", squares_root / "squares", "--out", out
    )


def test_keep_order(capsys: Capture, people: Path, tmp_path: Path) -> None:
    succeed(capsys, "data", "shard", people, "--out", tmp_path / "out", "--keep-order", *ONE)
    job = json.loads((tmp_path / "out" / ".people.job.json").read_text())
    assert job["seed"] is None


def test_the_unlabelled_set_of_a_config(
    capsys: Capture, config_path: Path, squares_root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = ("--config", config_path, "--data-root", squares_root)
    assert "people, 12 images" in succeed(capsys, "data", "shard", *options, "--out", out, *ONE)
    changed = ("--set", f"data.unlabelled={{format: shards, path: {out}}}")
    run = ("--data-root", squares_root, "--run-dir", tmp_path / "run", *changed)
    assert "trained" in succeed(capsys, "train", config_path, *run)
    (out / "people.json").unlink()
    run = (*run[:2], "--run-dir", tmp_path / "other", *changed)
    assert "holds no index of shards: if sharding was cut off" in fail(
        capsys, "train", config_path, *run
    )


def test_index_of_tars_that_others_wrote(
    capsys: Capture, config_path: Path, squares_root: Path, tmp_path: Path
) -> None:
    folder, bad = tmp_path / "web", tmp_path / "bad.csv"
    images = [(f"{n}.jpg", jpeg(n)) for n in range(6)]
    classes = [(f"{n}.cls", str(n).encode()) for n in range(6)]
    tar(folder / "web-0.tar", [*images, *classes, ("._0.jpg", b""), ("readme.md", b"")])
    tar(folder / "web-1.tar", [("6.jpg", jpeg(6)), ("7.jpg", b"broken")])
    message = fail(capsys, "data", "shard", "--index", folder, *ONE)
    assert message.startswith(f"{folder / 'web-1.tar'}: 7.jpg: not a readable image")
    told = succeed(capsys, "data", "shard", "--index", folder, "--skip-bad", bad, *ONE)
    assert told.splitlines() == [
        f"{folder}: web, 7 images in 2 shards: web.json",
        "  labels of 0 images: read without labels until all have one",
        "  no label, 6 images: a number, whose code table --codes would name",
        "  left out, 1 members: left behind by a system or a tool",
        "  left out, 1 members: no image by the end of the name",
        f"{bad}: 1 rows",
    ]
    assert bad.read_text().splitlines()[1].startswith("web,web-1.tar/7.jpg,not a readable image")
    assert "web, 7 images" in succeed(capsys, "data", "shard", "--verify", folder)
    changed = ("--set", f"data.unlabelled={{format: shards, path: {folder}}}")
    run = ("--data-root", squares_root, "--run-dir", tmp_path / "run", *changed)
    assert "trained" in succeed(capsys, "train", config_path, *run)

    out = tmp_path / "labelled"
    options = ("--codes", "fer2013", "--skip-bad", bad, *ONE)
    told = succeed(capsys, "data", "shard", "--index", folder, "--out", out, *options)
    assert told.splitlines()[:2] == [
        f"{out}: web, 6 images in 2 shards: web.json",
        "  labels of 6 images",
    ]
    assert re.search("happy +1\n", succeed(capsys, "data", "inspect", out))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x"], "nowhere to write the shards: name a folder with --out DIR"),
        (["--out", "x"], "name what to shard: either PATH, PATH:PART or --config CONFIG.yaml"),
        (["x", "--config", "y", "--out", "z"], "name what to shard: either"),
        (["nothing", "--out", "z"], "nothing: no such file or folder"),
        (["--verify", "nothing"], "nothing: holds no index of shards"),
        (["--index", "nothing"], "nothing: no such file or directory: give the folder"),
        (["x", "--index", "y"], "--index DIR takes the tars of its folder: name no other set"),
    ],
)
def test_what_is_missing(
    capsys: Capture, arguments: list[str], message: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert message in fail(capsys, "data", "shard", *arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "option",
    [("--size", "7"), ("--size", "x"), ("--size", "9" * 5000), ("--quality", "96"),
     ("--images-per-shard", "0"), ("--seed", "-1"), ("--workers", "0")],
)  # fmt: skip
def test_numbers_out_of_range(capsys: Capture, option: tuple[str, str]) -> None:
    with pytest.raises(SystemExit):
        main(["data", "shard", "x", "--out", "y", *option])
    assert "needs a number from" in capsys.readouterr().err or option[1] == "-1"


def test_unreadable_images_and_bad_rows(capsys: Capture, people: Path, tmp_path: Path) -> None:
    (people / "person2" / "0.png").write_bytes(b"broken")
    out, bad = tmp_path / "out", tmp_path / "bad.csv"
    message = fail(capsys, "data", "shard", people, "--out", out, *ONE)
    assert message.startswith("person2/0.png: not a readable image")
    assert "--skip-bad FILE leaves such images out and lists them" in message
    told = succeed(capsys, "data", "shard", people, "--out", out, "--skip-bad", bad, *ONE)
    assert "11 images in 1 shards" in told
    assert f"{bad}: 1 rows" in told
    with bad.open() as file:
        (row,) = csv.DictReader(file)
    assert (row["set"], row["image"], row["drop"]) == ("people", "person2/0.png", "yes")
    assert "not a readable image" in row["reason"]


def test_a_recordio_that_was_cut_off(capsys: Capture, tmp_path: Path) -> None:
    """The index names records that are no more there."""
    images = [record(labelled(jpeg(n), (n,), n)) for n in range(6)]
    pack(tmp_path / "pack", images)
    path = tmp_path / "pack" / "train.rec"
    path.write_bytes(path.read_bytes()[: -len(images[5]) - 40])
    out, bad = tmp_path / "out", tmp_path / "bad.csv"
    message = fail(capsys, "data", "shard", tmp_path / "pack", "--out", out, *ONE)
    assert "2 bad rows, such as 4: no sound record; --skip-bad FILE" in message
    assert not out.exists()
    options = ("--out", out, "--skip-bad", bad, *ONE)
    told = succeed(capsys, "data", "shard", tmp_path / "pack", *options)
    assert "pack-train, 4 images" in told
    assert bad.read_text().splitlines()[1:] == [
        f"pack/train,{path.resolve()},{n},no,no sound record" for n in (4, 5)
    ]


def test_verify_names_everything_that_is_wrong(
    capsys: Capture, people: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    succeed(capsys, "data", "shard", people, "--out", out, "--images-per-shard", 5, *ONE)
    for number in (0, 2):
        path = out / f"people-{number:06d}.tar"
        content = bytearray(path.read_bytes())
        content[600] ^= 1
        path.write_bytes(content)
    capsys.readouterr()
    assert main(["data", "shard", "--verify", str(out)]) == 1
    told, error = capsys.readouterr()
    assert told.count("not the shard that was listed") == 2
    assert told.splitlines()[-1] == f"{out}: people, 12 images in 3 shards: 2 problems"
    assert error.endswith(f"face2exp: error: {out}: 2 problems, listed above\n")
    path.write_bytes(content[:-1])
    assert "people-000002.tar: has" in fail(capsys, "data", "shard", "--verify", out)


def test_defaults_are_those_of_the_library() -> None:
    assert (cli_shard.IMAGES_PER_SHARD, cli_shard.QUALITY) == (
        sharding.IMAGES_PER_SHARD,
        sharding.QUALITY,
    )
