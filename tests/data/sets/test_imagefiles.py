"""Which files are images, and what a folder holds beside them."""

import errno
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from face2exp_lib.data.sets import imagefiles
from face2exp_lib.data.sets.imagefiles import (
    ENDINGS,
    FORMATS,
    endings,
    is_image,
    list_images,
    open_image,
)
from face2exp_lib.runtime.errors import Face2ExpError

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8))


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_opened_whatever_the_ending(name: str, tmp_path: Path) -> None:
    for ending in ENDINGS[name]:
        assert is_image(f"x{ending}")
        assert is_image(f"x{ending.upper()}")
    path = tmp_path / "picture"
    NOISE.save(path, name)
    with open_image(path) as image:
        assert image.size == (32, 24)


def test_what_a_build_of_pillow_lacks_is_no_image() -> None:
    """Its formats are those that it can decode; the rest is counted as other files."""
    assert set(ENDINGS) - set(FORMATS) <= set(imagefiles.OPTIONAL)
    assert not is_image("x.mov")
    assert not is_image("jpg")


def test_of_an_animation_the_first_picture_is_read() -> None:
    buffer = io.BytesIO()
    red, blue = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    red.save(buffer, "GIF", save_all=True, append_images=[blue])
    with open_image(buffer) as image:
        assert image.convert("RGB").getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("side", [9_000, 14_000])
def test_a_picture_that_is_too_large_is_told_the_limit(side: int) -> None:
    """81 and 196 million pixels, below and above where Pillow itself refuses."""
    buffer = io.BytesIO()
    Image.new("1", (side, side)).save(buffer, "PNG")
    with pytest.raises(
        ValueError, match=r"more than the 67,108,864 that are read: make it smaller"
    ):
        open_image(buffer)


JUNK = (
    ".DS_Store",
    "._a.jpg",
    ".ipynb_checkpoints/a-checkpoint.jpg",
    "__MACOSX/happy/._a.jpg",
    "Thumbs.db",
    "desktop.ini",
    "@eaDir/a.jpg",
    ".hidden/deep/a.jpg",
)


def test_what_systems_leave_behind_is_counted_once_and_not_entered(tmp_path: Path) -> None:
    for name in (*JUNK, "happy/a.jpg", "happy/._a.jpg", "happy/.ipynb_checkpoints/b.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    listed = list_images(tmp_path)
    assert listed.images == ["happy/a.jpg"]
    assert listed.others == []
    tops = sorted({name.split("/")[0] for name in JUNK})
    assert listed.left_behind == sorted([*tops, "happy/._a.jpg", "happy/.ipynb_checkpoints"])


def test_a_hidden_folder_that_is_named_itself_is_read(tmp_path: Path) -> None:
    (tmp_path / ".faces").mkdir()
    (tmp_path / ".faces" / "a.jpg").write_bytes(b"")
    assert list_images(tmp_path / ".faces").images == ["a.jpg"]


def test_endings_are_counted() -> None:
    assert endings(["a.txt", "b/c.MOV", "d.txt", "README"]) == ".txt 2, .mov 1, (none) 1"


def test_list_images_is_sorted_deep_and_takes_images_only(tmp_path: Path) -> None:
    for name in ("b/2.PNG", "b/1.jpeg", "a/deep/3.webp", "a/notes.txt", "a/.DS_Store"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert list_images(tmp_path) == (
        ["a/deep/3.webp", "b/1.jpeg", "b/2.PNG"],
        [],
        ["a/notes.txt"],
        ["a/.DS_Store"],
    )


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"")
    (tmp_path / "a" / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert list_images(tmp_path) == (["a/1.png"], ["a/again"], ["self"], [])


def test_folder_that_cannot_be_listed_is_an_error_and_no_hole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "locked").mkdir()
    scandir = os.scandir

    def refusing(path: Any) -> Any:
        if Path(path).name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", refusing)
    with pytest.raises(Face2ExpError, match=r"locked: cannot be listed \(Permission denied\)"):
        list_images(tmp_path)
