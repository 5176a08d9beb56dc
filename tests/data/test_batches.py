"""Decoded images and the loaders, in one process and in several."""

import zipfile
from collections import UserList
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from face2exp_lib.data.batches import DecodedFaces, ordered_batches, step_batches
from face2exp_lib.data.formats.folders import read_class_folders, read_identity_folders
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.images import FileImages, ZipImages
from face2exp_lib.data.sets.landmarks import CANONICAL_POINTS
from face2exp_lib.runtime.errors import Face2ExpError

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
        for batch, same in zip(streams[0], other, strict=True):
            assert batch.images.shape == (8, 3, 32, 32)
            assert batch.landmarks.shape == (8, 5, 2)
            assert all(torch.equal(a, b) for a, b in zip(batch, same, strict=True))


def test_ordered_batches_hold_every_face_once(faces: FaceSet) -> None:
    decoded = DecodedFaces(faces, 32, in_memory=False)
    batches = list(ordered_batches(decoded, 10, 0))
    assert [len(batch.labels) for batch in batches] == [10, 10, 10, 10, 8]
    assert torch.cat([batch.labels for batch in batches]).tolist() == faces.known_labels().tolist()
    one_image, one_label, _, one_index = decoded[47]
    assert torch.equal(one_image, batches[-1].images[-1])
    assert one_label == batches[-1].labels[-1]
    assert one_index == 47
    assert torch.cat([batch.indices for batch in batches]).tolist() == list(range(48))
    assert decoded.ids_at([47, 0]) == [faces.ids[47], faces.ids[0]]


def test_naming_some_faces_does_not_name_them_all(faces: FaceSet) -> None:
    """Training names its batch at every step, of sets with millions of faces."""

    looked_up = []

    class Counted(UserList[str]):
        def __getitem__(self, index: Any) -> Any:
            looked_up.append(index)
            return super().__getitem__(index)

    decoded = DecodedFaces(faces, 32, in_memory=False)
    faces.images.ids = Counted(faces.images.ids)
    decoded.ids_at([3, 1, 2])
    assert looked_up == [3, 1, 2]


def test_unlabelled_faces_have_minus_one(squares_root: Path) -> None:
    people = DecodedFaces(read_identity_folders(squares_root, "people", ""), 32, in_memory=True)
    ((_, labels, _, _),) = ordered_batches(people, 100, 0)
    assert labels.tolist() == [-1] * 12


@pytest.mark.parametrize("in_memory", [False, True])
def test_landmarks_are_scaled_with_their_images(tmp_path: Path, in_memory: bool) -> None:
    """Images of 20 x 10 and 10 x 20 px, to 40 x 40."""
    for name, sides in (("a.png", (20, 10)), ("b.png", (10, 20))):
        Image.new("RGB", sides).save(tmp_path / name)
    points = np.tile(np.array([[5, 5], [10, 0], [0, 2.5], [2, 4], [1, 1]], np.float32), (3, 1, 1))
    files = FileImages(tmp_path, ["b.png", "b.png", "a.png"])
    faces = FaceSet("x", files, np.array([2, 0]), landmarks=points[:2])
    landmarks = DecodedFaces(faces, 40, in_memory=in_memory).__getitems__([0, 1]).landmarks
    assert landmarks.dtype == torch.float32
    assert landmarks[0].tolist() == [[10, 20], [20, 0], [0, 10], [4, 16], [2, 4]]
    assert landmarks[1].tolist() == [[20, 10], [40, 0], [0, 5], [8, 8], [4, 2]]


def test_a_set_without_landmarks_has_the_canonical_ones(faces: FaceSet) -> None:
    landmarks = DecodedFaces(faces, 32, in_memory=False).__getitems__([3, 4]).landmarks
    assert np.allclose(landmarks, 32 * CANONICAL_POINTS)


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
        torch.cat([batch.images for batch in ordered_batches(decoded, 4, workers)])
        for workers in (0, 2)
    )
    assert torch.equal(alone, together)
