"""All adapters have what the interface promises."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from face2exp_lib.config import RunConfig
from face2exp_lib.data.formats import FORMATS
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.images import CroppedImages, FileImages
from face2exp_lib.data.sets.labels import CODES
from face2exp_lib.data.stream import unlabelled_faces
from tests.data.formats import trees
from tests.data.shards.small_shards import sharded
from tests.run_data import run_data

CODES_1_TO_7 = [
    (f"{part}_0000{n}{i}.jpg", str(i))
    for part in ("train", "test")
    for i in range(1, 8)
    for n in range(4)
]
VOTED = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear")


def make_rafdb(root: Path) -> list[str]:
    trees.rafdb(root, CODES_1_TO_7)
    return ["train", "test"]


def make_affectnet_2017(root: Path) -> list[str]:
    for table in ("training.csv", "validation.csv"):
        rows = [
            (f"{i}/{table[:5]}{n}.jpg", "1,1,20,20", str(i)) for i in range(9) for n in range(4)
        ]
        trees.affectnet_2017(root, rows, table)
    return ["train", "val"]


def make_affectnet_2021(root: Path) -> list[str]:
    for folder in ("train_set", "val_set"):
        trees.affectnet_2021(root, folder, {str(i): str(i % 9) for i in range(36)})
    return ["train", "val"]


def make_fer2013(root: Path) -> list[str]:
    usages = ("Training", "PublicTest")
    trees.fer2013(root, [trees.fer2013_row(i % 7, u, 20 * k + i)
                         for k, u in enumerate(usages) for i in range(28)])  # fmt: skip
    return list(usages)


def make_ferplus(root: Path) -> list[str]:
    usages = make_fer2013(root)
    rows = [
        f"{usage},fer{28 * k + i:07}.png,{','.join('9' if j == i % 7 else '0' for j in range(10))}"
        for k, usage in enumerate(usages)
        for i in range(28)
    ]
    trees.ferplus(root, rows)
    return usages


def make_expw(root: Path) -> list[str]:
    lines = [f"{n}.jpg {code} {code} {code} 30 30 9 {code}" for n in range(8) for code in range(7)]
    trees.expw(root, lines)
    return ["", ""]


def make_listed(root: Path) -> list[str]:
    lines = ["path,label,part"]
    for part in ("a", "b"):
        for code in range(7):
            for n in range(4):
                name = f"{part}/{code}{n}.jpg"
                trees.put(root / name, trees.jpeg(100 * code + n + (part == "b") * 1000))
                lines.append(f"{name},{code},{part}")
    trees.put(root / "faces.csv", "\n".join(lines) + "\n")
    return ["a", "b"]


def make_classes(root: Path) -> list[str]:
    for seed, part in enumerate(("train", "test")):
        for number, name in enumerate(VOTED):
            for i in range(4):
                content = trees.jpeg(1000 * seed + 10 * number + i)
                trees.put(root / part / name / f"{i}.jpg", content)
    return ["train", "test"]


Maker = Callable[[Path], list[str]]
# Layout, what makes a tree of it, where its path points to, other codes than its own.
LABELLED: dict[str, tuple[str, Maker, str, str | None]] = {
    "rafdb": ("rafdb", make_rafdb, "", None),
    "affectnet 2017": ("affectnet", make_affectnet_2017, "", None),
    "affectnet 2021": ("affectnet", make_affectnet_2021, "", None),
    "fer2013_csv": ("fer2013_csv", make_fer2013, "fer2013.csv", None),
    "ferplus": ("ferplus", make_ferplus, "", None),
    "expw": ("expw", make_expw, "", None),
    "listed": ("listed", make_listed, "faces.csv", "affectnet"),
    "class_folders": ("class_folders", make_classes, "", None),
}


def make_people(root: Path) -> str:
    for person in range(3):
        for i in range(4):
            trees.put(root / f"p{person}" / f"{i}.jpg", trees.jpeg(5000 + 10 * person + i))
    return ""


def make_celeba(root: Path) -> str:
    trees.celeba(root, {f"00000{i}.jpg": i for i in range(1, 9)})
    return "train"


def make_recordio(root: Path) -> str:
    trees.recordio(root, [(trees.jpeg(6000 + i), (i // 2,)) for i in range(8)])
    return ""


def make_shards(root: Path) -> str:
    sharded(root, 24, 10, labelled=False)
    return "numbered"


UNLABELLED: dict[str, Callable[[Path], str]] = {
    "identity_folders": make_people,
    "celeba": make_celeba,
    "recordio": make_recordio,
    "shards": make_shards,
}


def test_every_adapter_is_tried_here() -> None:
    tried = {name for name, *_ in LABELLED.values()} | UNLABELLED.keys() | {"rendered"}
    assert tried == FORMATS.keys()


@pytest.mark.parametrize("labelled", LABELLED)
@pytest.mark.parametrize("unlabelled", UNLABELLED)
def test_any_labelled_set_trains_with_any_unlabelled_one(
    labelled: str, unlabelled: str, tiny: Callable[..., RunConfig], tmp_path: Path
) -> None:
    """By the configuration alone: sets are read, held out, drawn and decoded."""
    name, make, inside, codes = LABELLED[labelled]
    train, test = make(tmp_path / "fer")
    people = UNLABELLED[unlabelled](tmp_path / "fr")

    def source(part: str) -> str:
        keys = {"format": name, "path": f"fer/{inside}", "part": part, "codes": codes}
        return yaml.safe_dump(keys, default_flow_style=True, width=1000)

    config = tiny(
        f"data.labelled={source(train)}",
        f"data.test={source(test)}",
        f"data.unlabelled={{format: {unlabelled}, path: fr, part: '{people}'}}",
        "data.validation_per_class=1",
        "data.per_class=1",
    )
    if name == "expw":  # one part: its test would take all of it
        with pytest.raises(Exception, match="no image is left for the validation draw: add some"):
            run_data(config, tmp_path)
        whole = config.data.labelled.read(tmp_path)
        assert set(whole.known_labels().tolist()) == set(range(7))
        return
    data = run_data(config, tmp_path)
    assert (len(data.labelled), len(data.validation)) == (7, 7)
    for faces in (data.labelled, data.unlabelled):
        assert faces is not None
        images, labels, _, _ = unlabelled_faces(faces, config.data).__getitems__([0, 1, 2])
        assert images.shape == (3, 3, 40, 40)
        assert labels.tolist() == [-1] * 3, "a label of D_FR came along"


@pytest.mark.parametrize("adapter", FORMATS.values(), ids=lambda adapter: adapter.name)
def test_what_is_written_about_an_adapter(adapter: object) -> None:
    assert isinstance(adapter, type(FORMATS["rafdb"]))
    assert adapter.codes in {"", *CODES}
    source = yaml.safe_load(adapter.example)
    assert source["format"] == adapter.name
    assert source.keys() <= {"format", "path", "part", "codes"}
    assert adapter.state.endswith(".")
    for text in (adapter.layout, adapter.notes, adapter.state):
        assert max(map(len, text.splitlines()), default=0) < 1000
        assert not re.search(r"/work|/tmp|\.\./shared", text)


def test_labels_are_there_without_reading_an_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        pytest.fail("an image was read")

    for method in ("read", "open"):
        monkeypatch.setattr(FileImages, method, refuse)
        monkeypatch.setattr(CroppedImages, method, refuse)
    for title, (name, make, inside, codes) in LABELLED.items():
        part = make(tmp_path / title)[0]
        adapter = FORMATS[name]
        faces: FaceSet = adapter.read(tmp_path / title / inside, part, codes or adapter.codes)
        assert len(np.unique(faces.known_labels())) >= 7
