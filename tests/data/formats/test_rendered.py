"""Packs of rendered faces."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from face2exp_lib.data.formats.rendered import read_rendered
from face2exp_lib.data.sets.labels import Expression
from face2exp_lib.runtime.errors import Face2ExpError

Picture = Callable[[int, int], bytes]


def write_pack(root: Path, part: str, table: str, members: dict[str, bytes]) -> Path:
    (root / f"{part}.csv").write_text(table)
    with zipfile.ZipFile(root / f"{part}.zip", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return root


def test_rendered_pack(tmp_path: Path, picture: Picture) -> None:
    table = "image,expression,identity\na.png,fear,7\nb.png,happy,8\n"
    write_pack(tmp_path, "fer", table, {"b.png": picture(1, 0), "a.png": picture(6, 0)})
    faces = read_rendered(tmp_path, "fer", "names")
    assert faces.known_labels().tolist() == [Expression.FEAR, Expression.HAPPY]
    assert faces.identities is not None
    assert faces.identities.tolist() == ["7", "8"]
    assert faces.images.read(0) == picture(6, 0)


def test_rendered_pack_without_expressions_has_no_labels(tmp_path: Path, picture: Picture) -> None:
    write_pack(tmp_path, "fr", "image,identity\na.png,7\n", {"a.png": picture(6, 0)})
    # The truth about the unlabelled part may lie beside it: it is not read.
    (tmp_path / "fr_truth.csv").write_text("image,expression\na.png,fear\n")
    assert read_rendered(tmp_path, "fr", "names").labels is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("image,expression,identity\n", r"fer\.csv: no row"),
        ("expression,identity\nfear,1\n", r"fer\.csv: column 'image' is missing"),
        ("image,expression\na.png,fear\n", r"fer\.csv: column 'identity' is missing"),
        ("image,expression,identity\na.png,smug,1\n", r"fer\.csv, line 2: unknown label 'smug'"),
        ("image,expression,identity\na.png,fear\n", r"fer\.csv, line 2: too few values"),
        (
            "image,expression,identity\nb.png,fear,1\n",
            r"line 2: no such image: fer\.zip has no b\.png",
        ),
        (
            "image,expression,identity\n../a.png,fear,1\n",
            r"line 2: no such image: fer\.zip has no \.\./a\.png",
        ),
        (
            "image,expression,identity\n/a.png,fear,1\n",
            r"line 2: no such image: fer\.zip has no /a\.png",
        ),
    ],
)
def test_broken_table_of_a_pack(tmp_path: Path, picture: Picture, table: str, message: str) -> None:
    write_pack(tmp_path, "fer", table, {"a.png": picture(6, 0)})
    with pytest.raises(Face2ExpError, match=message):
        read_rendered(tmp_path, "fer", "names")


@pytest.mark.parametrize("content", [b"", b"no zip", "cut"], ids=["empty", "text", "cut off"])
def test_broken_zip_of_a_pack(tmp_path: Path, picture: Picture, content: bytes | str) -> None:
    table = "image,expression,identity\na.png,fear,1\n"
    write_pack(tmp_path, "fer", table, {"a.png": picture(6, 0)})
    archive = tmp_path / "fer.zip"
    archive.write_bytes(archive.read_bytes()[:-30] if isinstance(content, str) else content)
    with pytest.raises(Face2ExpError, match=r"fer\.zip: not a readable zip"):
        read_rendered(tmp_path, "fer", "names")


def test_pack_without_one_of_its_files(tmp_path: Path, picture: Picture) -> None:
    write_pack(tmp_path, "fer", "image,identity\na.png,1\n", {"a.png": picture(6, 0)})
    with pytest.raises(Face2ExpError, match=r"fr\.csv: no such file .* parts .* are fer$"):
        read_rendered(tmp_path, "fr", "names")
    (tmp_path / "fer.zip").unlink()
    with pytest.raises(Face2ExpError, match=r"fer\.zip: no such file .*: the pack is incomplete"):
        read_rendered(tmp_path, "fer", "names")


def test_bad_rows_of_a_pack_are_counted_on_demand(tmp_path: Path, picture: Picture) -> None:
    table = "image,expression,identity\na.png,fear,1\nb.png,fear,1\na.png,fear,1\nc.png,smug,1\n"
    write_pack(tmp_path, "fer", table, {"a.png": picture(6, 0), "c.png": picture(6, 0)})
    faces = read_rendered(tmp_path, "fer", "names", skip_bad=True)
    assert faces.ids == ["a.png"]
    assert [s.image for s in faces.skipped] == ["b.png", "c.png", "a.png"]
