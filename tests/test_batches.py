"""Decoded images and the loaders, in one process and in several."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from face2exp_lib.adapters.folders import read_class_folders, read_identity_folders
from face2exp_lib.batches import DecodedFaces, ordered_batches, step_batches
from face2exp_lib.errors import Face2ExpError
from face2exp_lib.facesets import FaceSet
from face2exp_lib.images import ZipImages

WORKERS = (  # what torch says on a single core, and Python of any fork beside threads
    "ignore:This DataLoader will create",
    "ignore:This process .* is multi-threaded:DeprecationWarning",
)
with_workers = pytest.mark.filterwarnings(*WORKERS)


@pytest.fixture
def faces(squares_root: Path) -> FaceSet:
    return read_class_folders(squares_root / "squares", "train", "names")


@with_workers
def test_the_same_batches_come_from_memory_from_files_and_from_workers(faces: FaceSet) -> None:
    options = {"start": 2, "stop": 7, "seed": 0, "stream": "x"}
    streams = [
        list(
            step_batches(DecodedFaces(faces, 32, in_memory=memory), 8, workers=workers, **options)  # type: ignore[arg-type]
        )
        for memory, workers in ((True, 0), (False, 0), (False, 2))
    ]
    assert len(streams[0]) == 5
    for other in streams[1:]:
        for (images, labels), (images_2, labels_2) in zip(streams[0], other, strict=True):
            assert images.shape == (8, 3, 32, 32)
            assert torch.equal(images, images_2)
            assert torch.equal(labels, labels_2)


def test_ordered_batches_hold_every_face_once(faces: FaceSet) -> None:
    decoded = DecodedFaces(faces, 32, in_memory=False)
    batches = list(ordered_batches(decoded, 10, 0))
    assert [len(labels) for _, labels in batches] == [10, 10, 10, 10, 8]
    assert torch.cat([labels for _, labels in batches]).tolist() == faces.known_labels().tolist()
    one_image, one_label = decoded[47]
    assert torch.equal(one_image, batches[-1][0][-1])
    assert one_label == batches[-1][1][-1]


def test_unlabelled_faces_have_minus_one(squares_root: Path) -> None:
    people = DecodedFaces(read_identity_folders(squares_root, "people", ""), 32, in_memory=True)
    ((_, labels),) = ordered_batches(people, 100, 0)
    assert labels.tolist() == [-1] * 12


def test_subsets_decode_their_own_images(faces: FaceSet) -> None:
    whole = DecodedFaces(faces, 32, in_memory=True)
    part = DecodedFaces(faces.subset(np.array([7, 3])), 32, in_memory=False)
    assert torch.equal(part[0][0], whole[7][0])
    assert torch.equal(part[1][0], whole[3][0])


def test_global_random_state_is_left_alone(faces: FaceSet) -> None:
    """A data loader takes a number from it otherwise, and a resumed run would take one more."""
    decoded = DecodedFaces(faces, 32, in_memory=True)
    before = torch.get_rng_state()
    next(step_batches(decoded, 4, start=0, stop=2, seed=0, stream="x", workers=0))
    next(ordered_batches(decoded, 4, 0))
    assert torch.equal(torch.get_rng_state(), before)


@with_workers
@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_image_gives_one_line_from_any_process(tmp_path: Path, workers: int) -> None:
    (tmp_path / "sad").mkdir()
    for number in range(3):
        (tmp_path / "sad" / f"{number}.png").write_bytes(b"broken")
    decoded = DecodedFaces(read_class_folders(tmp_path, "", "names"), 32, in_memory=False)
    with pytest.raises(Face2ExpError, match=r"^sad/0\.png: not a readable image") as caught:
        next(ordered_batches(decoded, 1, workers))
    assert "\n" not in str(caught.value)


def test_unreadable_image_is_found_when_a_set_goes_to_memory(tmp_path: Path) -> None:
    (tmp_path / "sad").mkdir()
    (tmp_path / "sad" / "1.png").write_bytes(b"broken")
    with pytest.raises(Face2ExpError, match=r"^sad/1\.png: not a readable image"):
        DecodedFaces(read_class_folders(tmp_path, "", "names"), 32, in_memory=True)


@with_workers
def test_workers_read_a_zip_that_was_open_before_them(
    tmp_path: Path, picture: Callable[[int, int], bytes]
) -> None:
    """Hashing opens it; workers that read on through that open file would disturb each other."""
    names = [f"{number}.png" for number in range(120)]
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as archive:
        for number, name in enumerate(names):
            archive.writestr(name, picture(number % 7, number))
    faces = FaceSet("pack", ZipImages(tmp_path / "pack.zip", names), np.arange(len(names)))
    faces.digests()
    decoded = DecodedFaces(faces, 40, in_memory=False)
    alone, together = (
        torch.cat([images for images, _ in ordered_batches(decoded, 4, workers)])
        for workers in (0, 2)
    )
    assert torch.equal(alone, together)
