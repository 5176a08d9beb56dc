"""Which sets lie at a path."""

from pathlib import Path

import pytest

from face2exp_lib.data.recognition import find_sets, read_sets
from face2exp_lib.runtime.errors import Face2ExpError
from tests.data.formats import trees
from tests.data.formats.trees import put


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for part in ("train", "test"):
        trees.class_folders(tmp_path / "fer" / part, {"happy": 1, "sad": 1})
    put(tmp_path / "people" / "ann" / "1.jpg", trees.jpeg(1))
    return tmp_path


def test_sets_by_path_and_part(root: Path) -> None:
    assert [faces.name for faces in read_sets(f"{root}/fer")] == ["fer/test", "fer/train"]
    assert [faces.name for faces in read_sets(f"{root}/people")] == ["people"]
    with pytest.raises(Face2ExpError, match="fer: no part 'dev': it has test, train"):
        read_sets(f"{root}/fer:dev")
    for text in (f"{root}/gone", f"{root}/gone:train"):
        with pytest.raises(Face2ExpError, match=r"gone\S*: no such file or folder: give PATH or"):
            read_sets(text)


def test_an_outer_folder_with_one_set_inside_stands_for_it(tmp_path: Path) -> None:
    trees.rafdb(tmp_path / "RAF-DB" / "basic", [("train_00001.jpg", "5"), ("train_00002.jpg", "4")])
    (found,) = find_sets(tmp_path / "RAF-DB")
    assert (found.adapter.name, found.path) == ("rafdb", tmp_path / "RAF-DB" / "basic")
    (faces,) = read_sets(f"{tmp_path}/RAF-DB:train")
    assert faces.notes == (f"{tmp_path}/RAF-DB is an outer folder: this is {found.path}",)
    assert faces.origin == read_sets(f"{found.path}:train")[0].origin


def test_a_part_that_two_layouts_have_is_read_once(tmp_path: Path) -> None:
    """FERPlus' votes beside Kaggle's table: the votes say more."""
    trees.fer2013(tmp_path, [trees.fer2013_row(3, "Training")])
    trees.ferplus(tmp_path, ["Training,fer0000000.png,0,9,1,0,0,0,0,0,0,0"])
    assert [found.adapter.name for found in find_sets(tmp_path)] == ["ferplus", "fer2013_csv"]
    (faces,) = read_sets(f"{tmp_path}")
    assert faces.distributions is not None


def test_a_home_folder_is_one_everywhere(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(root))
    monkeypatch.setenv("USERPROFILE", str(root))
    assert [found.part for found in find_sets("~/fer")] == ["test", "train"]
    assert len(read_sets("~/fer:train")[0]) == 2


def test_however_a_set_is_spelt_it_is_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root / "fer")
    spelt = (".:train", "train", "./train/", f"{root}/fer:train", f"{root}/people/../fer/train")
    assert len({read_sets(text)[0].origin for text in spelt}) == 1
    assert {read_sets(text)[0].name for text in spelt} == {"fer/train"}
