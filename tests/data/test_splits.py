"""What a run learns from, chooses by and is tested on; copies; the label budget."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from face2exp_lib.config import RunConfig, load_config
from face2exp_lib.data.formats.folders import read_class_folders
from face2exp_lib.data.lists import write_draw
from face2exp_lib.data.sampling import class_counts
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.data.splits import read_validation
from face2exp_lib.data.stream_order import ShardedFaces
from face2exp_lib.runtime.errors import Face2ExpError
from tests.run_data import run_data

Tiny = Callable[..., RunConfig]


def counts(faces: FaceSet) -> dict[str, int]:
    return class_counts(faces.known_labels(), class_names(7))


def listed(faces: FaceSet | ShardedFaces | None) -> FaceSet:
    """Faces that are no stream."""
    assert isinstance(faces, FaceSet)
    return faces


def test_the_tiny_run_by_hand(tiny: Tiny, squares_root: Path) -> None:
    """Train has 6 of each class, 10 happy; its 2 copies of test images are dropped; 2 of each
    class go to validation; Smp draws 3 of each of the rest."""
    data = run_data(tiny(), squares_root)
    assert counts(data.test) == dict.fromkeys(class_names(7), 3)
    assert counts(data.validation) == dict.fromkeys(class_names(7), 2)
    assert counts(data.long_tailed) == {**dict.fromkeys(class_names(7), 4), "happy": 8}
    assert counts(data.labelled) == dict.fromkeys(class_names(7), 3)
    assert len(listed(data.unlabelled)) == 12
    assert data.left_out == {
        "labelled": {
            "listed in data.drop": 0,
            "copies of test images": 2,
            "copies of validation images": 0,
        },
        "unlabelled": {"listed in data.drop": 0, "copies of evaluation images": 0},
    }


def test_parts_share_no_image(tiny: Tiny, squares_root: Path) -> None:
    data = run_data(tiny(), squares_root)
    assert not set(data.validation.ids) & set(data.long_tailed.ids)
    assert set(data.labelled.ids) <= set(data.long_tailed.ids)
    for part in (data.validation, data.test):
        assert not set(part.digests()) & set(data.long_tailed.digests())
    assert not set(data.validation.digests()) & set(data.test.digests())


def test_copies_are_dropped_from_train_and_never_from_evaluation(
    tiny: Tiny, squares_root: Path
) -> None:
    data = run_data(tiny(), squares_root)
    kept = [*data.long_tailed.ids, *data.validation.ids]
    assert "happy/copy.png" not in kept
    assert "sad/copy.png" not in kept
    assert {"happy/0.png", "sad/0.png"} <= set(data.test.ids)


def test_copies_of_validation_images_are_dropped_from_train(
    tiny: Tiny, tmp_path: Path, squares_root: Path, picture: Callable[[int, int], bytes]
) -> None:
    """Every training image is there twice: what validation takes leaves with its twin."""
    for code, name in enumerate(class_names(7)):
        folder = tmp_path / "twins" / name
        folder.mkdir(parents=True)
        for number in range(4):
            for twin in "ab":
                (folder / f"{number}{twin}.png").write_bytes(picture(code, 500 + number))
    config = tiny(
        f"data.labelled={{format: class_folders, path: {tmp_path}/twins}}",
        "data.validation_per_class=1",
        "data.per_class=1",
    )
    data = run_data(config, squares_root)
    assert counts(data.validation) == dict.fromkeys(class_names(7), 1)
    assert counts(data.long_tailed) == dict.fromkeys(class_names(7), 6)
    assert not set(data.validation.digests()) & set(data.long_tailed.digests())


def test_copies_of_evaluation_images_are_dropped_from_the_unlabelled_faces(
    tiny: Tiny, squares_root: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    shutil.copytree(squares_root, root)
    first = run_data(tiny(), root)
    validation, test = first.validation.ids[0], first.test.ids[5]
    for number, copied in enumerate((f"train/{validation}", f"test/{test}")):
        content = (root / "squares" / copied).read_bytes()
        (root / "people" / "person3" / f"copy{number}.png").write_bytes(content)
    data = run_data(tiny(), root)
    assert isinstance(data.unlabelled, FaceSet)
    assert isinstance(first.unlabelled, FaceSet)
    assert listed(data.unlabelled).ids == listed(first.unlabelled).ids
    assert data.left_out["unlabelled"]["copies of evaluation images"] == 2
    assert len(data.labelled) == len(first.labelled)
    unchecked = run_data(tiny("data.check_unlabelled=false"), root)
    assert len(listed(unchecked.unlabelled)) == 14
    assert "copies of evaluation images" not in unchecked.left_out["unlabelled"]


def test_unlabelled_faces_that_are_all_copies(tiny: Tiny, squares_root: Path) -> None:
    config = tiny("data.unlabelled={format: identity_folders, path: squares/test}")
    with pytest.raises(Face2ExpError, match="test: no image is left of it"):
        run_data(config, squares_root)


# What an audit's table says to drop


def drop_table(path: Path, *rows: str) -> str:
    path.write_text("set,image,drop\n" + "".join(f"{row}\n" for row in rows))
    return f"data.drop={path}"


def test_listed_images_are_dropped_from_training_alone(
    tiny: Tiny, squares_root: Path, tmp_path: Path
) -> None:
    change = drop_table(
        tmp_path / "drop.csv",
        "squares/train,happy/3.png,yes",
        "squares/train,happy/4.png,no",
        "squares/train,happy/copy.png,yes",
        "people,person0/1.png,yes",
        "squares/test,sad/1.png,yes",
    )
    data = run_data(tiny(change, "data.per_class=2"), squares_root)
    trained = {*data.long_tailed.ids, *data.validation.ids}
    assert "happy/3.png" not in trained
    assert "happy/4.png" in trained
    assert isinstance(data.unlabelled, FaceSet)
    assert "person0/1.png" not in listed(data.unlabelled).ids
    assert len(data.unlabelled) == 11
    assert "sad/1.png" in data.test.ids
    assert counts(data.test) == dict.fromkeys(class_names(7), 3)
    assert data.left_out["labelled"]["listed in data.drop"] == 2
    assert data.left_out["labelled"]["copies of test images"] == 1
    assert data.left_out["unlabelled"]["listed in data.drop"] == 1
    assert (len(data.labelled), len(data.validation)) == (14, 14)


def test_several_tables_are_joined(tiny: Tiny, squares_root: Path, tmp_path: Path) -> None:
    paths = [tmp_path / "audit.csv", tmp_path / "bad.csv"]
    drop_table(paths[0], "squares/train,happy/3.png,yes")
    drop_table(paths[1], "squares/train,happy/4.png,yes", "squares/train,happy/5.png,no")
    data = run_data(tiny(f"data.drop=[{paths[0]}, {paths[1]}]", "data.per_class=2"), squares_root)
    assert data.left_out["labelled"]["listed in data.drop"] == 2
    assert not {"happy/3.png", "happy/4.png"} & {*data.long_tailed.ids, *data.validation.ids}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("squares/train,happy/99.png,yes", "squares/train lacks 1 .* such as happy/99.png: audit"),
        ("people,person9/1.png,yes", "people lacks 1 of the images"),
        ("other,happy/1.png,yes", "lists images of other, and this run trains on people and squ"),
        ("squares/train,happy/1.png,maybe", "line 2: drop 'maybe' is neither yes nor no"),
    ],
)
def test_tables_of_other_data_are_refused(
    tiny: Tiny, squares_root: Path, tmp_path: Path, row: str, message: str
) -> None:
    with pytest.raises(Face2ExpError, match=message):
        run_data(tiny(drop_table(tmp_path / "drop.csv", row)), squares_root)


def test_tables_lie_below_the_data_root(tiny: Tiny, squares_root: Path) -> None:
    for key in ("drop", "draw"):
        with pytest.raises(Face2ExpError, match=r"gone\.csv: no such table: relative paths lie"):
            run_data(tiny(f"data.{key}=gone.csv"), squares_root)


# Draws by percent, and from a list


@pytest.mark.parametrize(
    ("changes", "sizes"),
    [
        # training is left with 4 of each class and 8 of happy: 32
        (["data.percent=50"], dict.fromkeys(class_names(7), 2)),
        (["data.percent=87.4"], dict.fromkeys(class_names(7), 3)),
        (["data.percent=87.5"], dict.fromkeys(class_names(7), 4)),
        (
            ["data.percent=25", "data.balanced=false"],
            {**dict.fromkeys(class_names(7), 1), "happy": 2},
        ),
        (
            ["data.percent=100", "data.balanced=false"],
            {**dict.fromkeys(class_names(7), 4), "happy": 8},
        ),
    ],
)
def test_percent(tiny: Tiny, squares_root: Path, changes: list[str], sizes: dict[str, int]) -> None:
    data = run_data(tiny("data.per_class=null", *changes), squares_root)
    assert counts(data.labelled) == sizes
    assert len(data.labelled) == sum(sizes.values())


def test_percent_that_the_smallest_class_cannot_give(
    tiny: Tiny, squares_root: Path, tmp_path: Path
) -> None:
    """All 32 images over 7 classes are 4 of each, and one disgust is dropped."""
    change = drop_table(tmp_path / "drop.csv", "squares/train,disgust/0.png,yes")
    config = tiny("data.per_class=null", "data.percent=100", change)
    with pytest.raises(Face2ExpError, match="'disgust' has 3 images, the training draw wants 4"):
        run_data(config, squares_root)


def test_a_draw_trains_the_same_from_its_list_whatever_the_seed(
    tiny: Tiny, squares_root: Path, tmp_path: Path
) -> None:
    drawn = run_data(tiny("seed=3"), squares_root)
    path = tmp_path / "draw.csv"
    write_draw(path, {"train": drawn.labelled, "validation": drawn.validation}, {"seed": 3})
    listed = run_data(tiny("seed=8", f"data.draw={path}"), squares_root)
    for part in ("labelled", "validation", "long_tailed", "unlabelled"):
        assert getattr(listed, part).digest == getattr(drawn, part).digest
    other = run_data(tiny("seed=8"), squares_root)
    assert other.labelled.ids != drawn.labelled.ids


def test_a_list_of_training_images_alone_leaves_the_validation_draw_to_the_seed(
    tiny: Tiny, squares_root: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mine.csv"
    rows = [f"{name}/{number}.png,{name}" for name in class_names(7) for number in (0, 1, 2)]
    path.write_text("image,label\n" + "\n".join(rows))
    config = tiny(f"data.draw={path}")
    data = run_data(config, squares_root)
    assert sorted(data.labelled.ids) == sorted(row.split(",")[0] for row in rows)
    assert not set(data.labelled.ids) & set(data.validation.ids)
    assert counts(data.validation) == dict.fromkeys(class_names(7), 2)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("happy/77.png,happy", "squares/train lacks 1 of the images .* such as happy/77.png"),
        ("happy/1.png,sad", "happy/1.png is 'sad' there and 'happy' in squares/train"),
        ("happy/copy.png,happy", "1 of the images that it lists may not be trained on, such as"),
        ("happy/0.png,happy", "happy/0.png is listed twice"),
        ("happy/1.png,glee", "line 9: unknown label 'glee'"),
    ],
)
def test_lists_that_do_not_fit(
    tiny: Tiny, squares_root: Path, tmp_path: Path, row: str, message: str
) -> None:
    path = tmp_path / "mine.csv"
    rows = [f"{name}/0.png,{name}" for name in class_names(7)]
    path.write_text("image,label\n" + "\n".join([*rows, row]))
    with pytest.raises(Face2ExpError, match=message):
        run_data(tiny(f"data.draw={path}"), squares_root)


def test_a_list_without_a_class(tiny: Tiny, squares_root: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("image,label\nhappy/0.png,happy\n")
    with pytest.raises(Face2ExpError, match=r"train \(list\): shows happy alone: add images of"):
        run_data(tiny(f"data.draw={path}"), squares_root)
    path.write_text("image,label\nhappy/0.png,happy\nsad/1.png,sad\n")
    data = run_data(tiny(f"data.draw={path}"), squares_root)
    rest = ["neutral", "surprise", "anger", "disgust", "fear"]
    assert data.missing == {"labelled": rest}
    assert data.notes() == [
        f"note: squares/train (list) shows no {', '.join(rest)}: nothing teaches the network to "
        "name it"
    ]


def test_a_validation_set_of_its_own_is_kept_whole(tiny: Tiny, squares_root: Path) -> None:
    """Here it is the training set itself: nothing is left to train on."""
    config = tiny(
        "data.validation_per_class=null",
        "data.validation={format: class_folders, path: squares, part: test}",
    )
    data = run_data(config, squares_root)
    assert counts(data.validation) == dict.fromkeys(class_names(7), 3)
    assert counts(data.long_tailed) == {**dict.fromkeys(class_names(7), 6), "happy": 10}
    with pytest.raises(Face2ExpError, match="squares/train: shows no class: add images of two"):
        run_data(
            tiny(
                "data.validation_per_class=null",
                "data.validation={format: class_folders, path: squares, part: train}",
            ),
            squares_root,
        )


def test_split_depends_on_the_seed_alone(tiny: Tiny, squares_root: Path) -> None:
    first, again, other = (
        run_data(tiny(f"seed={seed}", f"method={method}"), squares_root)
        for seed, method in ((0, "meta"), (0, "supervised"), (1, "meta"))
    )
    assert first.validation.ids == again.validation.ids
    assert first.labelled.ids == again.labelled.ids
    assert first.validation.ids != other.validation.ids
    assert first.test.ids == other.test.ids


def test_contempt_is_left_out_of_seven_classes(
    tiny: Tiny, tmp_path: Path, squares_root: Path, picture: Callable[[int, int], bytes]
) -> None:
    for part in ("train", "test"):
        for code, name in enumerate(class_names(8)):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for number in range(6):
                (folder / f"{number}.png").write_bytes(
                    picture(code, number + 50 * (part == "test"))
                )
    changes = [
        f"data.{which}={{format: class_folders, path: {tmp_path}, part: {part}}}"
        for which, part in (("labelled", "train"), ("test", "test"))
    ]
    seven = run_data(tiny(*changes), squares_root)
    assert (len(seven.test), len(seven.labelled)) == (42, 21)
    eight = run_data(tiny(*changes, "data.num_classes=8"), squares_root)
    assert (len(eight.test), len(eight.labelled)) == (48, 24)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["data.per_class=5"], "'neutral' has 4 images, the training draw wants 5"),
        (["data.validation_per_class=7"], "'neutral' has 6 images, the validation draw wants 7"),
        (["data.validation_per_class=6"], "validation takes all images of neutral, and none is"),
        (["data.test.part=gone"], "gone: no such file or folder"),
        (["data.test={format: identity_folders, path: people}"], "people: this set has no labels"),
        (["data.labelled={format: identity_folders, path: people}"], "people: this set has no"),
        (["data.labelled={format: class_folders, path: people}"], "unknown label 'person0'"),
        (["data.unlabelled.path=gone"], "gone: no such file or folder"),
    ],
)
def test_sets_that_do_not_fit(
    tiny: Tiny, squares_root: Path, changes: list[str], message: str
) -> None:
    with pytest.raises(Face2ExpError, match=message):
        run_data(tiny(*changes), squares_root)


@pytest.fixture
def six(tmp_path: Path, picture: Callable[[int, int], bytes]) -> str:
    """A source of two images each of all classes but fear."""
    for code, name in enumerate(class_names(6)):
        (tmp_path / "six" / name).mkdir(parents=True)
        for number in (0, 1):
            (tmp_path / "six" / name / f"{number}.png").write_bytes(picture(code, 900 + number))
    return f"{{format: class_folders, path: {tmp_path}, part: six}}"


@pytest.mark.parametrize(
    ("which", "missing", "note"),
    [
        ("test", ["test"], "shows no fear: its accuracy is not measured"),
        ("validation", ["validation"], "shows no fear: it has no part in choosing the checkpoint"),
        ("labelled", ["labelled", "validation"], "shows no fear: nothing teaches the network to"),
    ],
)
def test_class_that_a_set_lacks_is_named(
    tiny: Tiny, squares_root: Path, six: str, which: str, missing: list[str], note: str
) -> None:
    """A validation part cut from a labelled set without fear shows none either."""
    own = ["data.validation_per_class=null"] if which == "validation" else []
    few = ["data.validation_per_class=1", "data.per_class=1"] if which == "labelled" else []
    data = run_data(tiny(f"data.{which}={six}", *own, *few), squares_root)
    assert data.missing == {name: ["fear"] for name in missing}
    assert note in data.notes()[0]
    assert data.record()["missing_classes"] == data.missing
    for name in missing:
        of_class = counts(getattr(data, name))
        assert of_class.pop("fear") == 0
        assert min(of_class.values()) == max(of_class.values()) > 0


def test_a_class_that_no_set_shows(tiny: Tiny, squares_root: Path) -> None:
    """Eight outputs, and seven classes in all sets: the other draws are as with seven outputs."""
    eight = run_data(tiny("data.num_classes=8"), squares_root)
    assert eight.missing == {name: ["contempt"] for name in ("labelled", "validation", "test")}
    seven = run_data(tiny(), squares_root)
    assert seven.missing == {}
    assert seven.notes() == []
    assert eight.labelled.ids == seven.labelled.ids


def test_a_share_is_divided_by_the_classes_that_are_there(
    tiny: Tiny, squares_root: Path, six: str
) -> None:
    """Of 12 images one of each of 6 classes is validation; 100 % of the other 6 are one of each."""
    config = tiny(
        f"data.labelled={six}", "data.validation_per_class=1", "data.per_class=null",
        "data.percent=100",
    )  # fmt: skip
    assert len(run_data(config, squares_root).labelled) == 6


@pytest.mark.parametrize("which", ["test", "validation", "labelled"])
def test_one_class_alone_is_refused(
    tiny: Tiny, squares_root: Path, tmp_path: Path, which: str
) -> None:
    shutil.copytree(squares_root / "squares" / "train" / "sad", tmp_path / "one" / "sad")
    source = f"data.{which}={{format: class_folders, path: {tmp_path}, part: one}}"
    own = ["data.validation_per_class=null"] if which == "validation" else []
    with pytest.raises(Face2ExpError, match="/one: shows sad alone: add images of two classes"):
        run_data(tiny(source, *own), squares_root)


@pytest.mark.parametrize("own", [False, True])
def test_validation_alone_is_that_of_the_run(tiny: Tiny, squares_root: Path, own: bool) -> None:
    changes = (
        "data.validation_per_class=null",
        "data.validation={format: class_folders, path: squares, part: test}",
    )
    config = tiny(*(changes if own else ()))
    part = read_validation(config.data, config.seed, squares_root)
    assert part.digest == run_data(config, squares_root).validation.digest


def test_validation_alone_reads_no_other_set_than_it_needs(tiny: Tiny, squares_root: Path) -> None:
    nowhere = "data.unlabelled={format: identity_folders, path: gone}"
    assert len(read_validation(tiny(nowhere).data, 0, squares_root)) == 14
    config = tiny(
        nowhere,
        "data.test={format: class_folders, path: gone}",
        "data.labelled={format: class_folders, path: gone}",
        "data.validation_per_class=null",
        "data.validation={format: class_folders, path: squares, part: test}",
    )
    assert len(read_validation(config.data, config.seed, squares_root)) == 21


def test_fer2013_keeps_its_test_part_and_loses_the_copies_in_train(real_faces: Path) -> None:
    """280 PublicTest images have an exact copy in train, some of them several: 351 copies."""
    config = load_config(Path(__file__).parents[2] / "configs" / "fer2013_lfw_cpu.yaml")
    data = run_data(config, real_faces)
    train = read_class_folders(real_faces, "train", "names").digests()
    test, validation = data.test.digests(), data.validation.digests()
    assert (len(train), len(test)) == (28_709, 3_589)
    in_train, in_test = set(train), set(test)
    assert sum(digest in in_train for digest in test) == 280
    assert sum(digest in in_test for digest in train) == 351
    held_out = in_test | set(validation)
    assert not set(validation) & in_test
    assert sorted(data.long_tailed.digests()) == sorted(set_aside(train, held_out))
    assert (len(data.labelled), len(data.validation)) == (700, 700)


def set_aside(digests: list[bytes], held_out: set[bytes]) -> list[bytes]:
    return [digest for digest in digests if digest not in held_out]
