"""The job that looks for the faces of a whole set."""

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from filelock import FileLock
from PIL import Image

from face2exp_lib.data.formats.folders import read_identity_folders
from face2exp_lib.data.formats.rendered import read_rendered
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.images import FileImages
from face2exp_lib.data.sets.landmark_table import POINTS, attach, read_remarks
from face2exp_lib.preparation import landmarking
from face2exp_lib.preparation.landmarking import Piece, find_landmarks, look, write_piece
from face2exp_lib.preparation.mtcnn import Detections, Detector
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.resources import shipped

pytest.importorskip("facenet_pytorch", reason="the extra `landmarks` is missing")

Pieces = Generator[Piece, None, None]

COUNT, PER_PIECE = 22, 4
FACELESS = "people/b.png"


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> FaceSet:
    """Embedded faces as files, and an image without one."""
    folder = tmp_path_factory.mktemp("set")
    part = read_rendered(shipped("data/rendered"), "fer_test", "names")
    (folder / "people").mkdir()
    for index in range(COUNT - 1):
        (folder / "people" / f"{index:02d}.webp").write_bytes(part.images.read(index))
    Image.new("RGB", (50, 30)).save(folder / FACELESS)
    return read_identity_folders(folder, "", "")


@pytest.fixture(scope="module")
def table(faces: FaceSet, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What an uninterrupted job writes."""
    out = tmp_path_factory.mktemp("out") / "faces.parquet"
    assert find_landmarks(faces, out, images_per_piece=PER_PIECE)
    assert [path.name for path in out.parent.iterdir()] == ["faces.parquet"]
    return out.read_bytes()


def test_one_row_an_image_in_the_order_of_the_set(
    faces: FaceSet, table: bytes, tmp_path: Path
) -> None:
    rows = pq.read_table(io.BytesIO(table)).to_pydict()
    assert rows["image"] == faces.ids
    faceless = faces.ids.index(FACELESS)
    assert rows["state"][faceless] == "undetected"
    assert rows["state"].count("detected") >= COUNT - 2
    assert (rows["width"][faceless], rows["height"][faceless]) == (50, 30)
    assert rows["nose_x"][faceless] is None
    points = np.array([[rows[name][0] for name in POINTS]])
    assert (points * 16 == np.round(points * 16)).all()
    path = tmp_path / "faces.parquet"
    path.write_bytes(table)
    attached = attach(faces, path)
    assert attached.canonical is not None
    assert attached.canonical.sum() == COUNT - rows["state"].count("detected")
    remarks = read_remarks(path)
    assert remarks["detector"]["faces"] == "crop"
    assert remarks["software"].keys() == {"face2exp_lib", "facenet-pytorch", "torch", "Pillow"}


def test_a_table_that_is_there_is_kept(faces: FaceSet, table: bytes, tmp_path: Path) -> None:
    out = tmp_path / "faces.parquet"
    out.write_bytes(table)
    assert not find_landmarks(faces, out)
    assert out.read_bytes() == table
    for other, search in ((faces.subset(np.arange(3)), "crop"), (faces, "photo")):
        with pytest.raises(Face2ExpError, match="was made for other images or in another way"):
            find_landmarks(other, out, search=search)
    assert [path.name for path in tmp_path.iterdir()] == ["faces.parquet"]


def test_a_killed_job_goes_on_where_it_was(faces: FaceSet, table: bytes, tmp_path: Path) -> None:
    out = tmp_path / "faces.parquet"
    assert isinstance(faces.images, FileImages)
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from face2exp_lib.preparation import landmarking\n"
        "from face2exp_lib.data.formats.folders import read_identity_folders\n"
        "write = landmarking.write_piece\n"
        "def slow(piece):\n"
        "    write(piece)\n"
        "    time.sleep(0.2)\n"
        "landmarking.write_piece = slow\n"
        "faces = read_identity_folders(Path(sys.argv[1]), '', '')\n"
        f"landmarking.find_landmarks(faces, Path(sys.argv[2]), images_per_piece={PER_PIECE})\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(faces.images.root), str(out)],
        cwd=Path(__file__).parents[2],
        stderr=subprocess.DEVNULL,
    )
    pieces = tmp_path / "faces.parquet.pieces"
    until = time.monotonic() + 60
    while len(list(pieces.glob("*.parquet"))) < 2 and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = {path.name: path.stat().st_mtime_ns for path in pieces.glob("*.parquet")}
    assert 2 <= len(done) < COUNT // PER_PIECE
    assert not out.exists()

    made: list[str] = []

    def counted(piece: Piece) -> None:
        made.append(piece.path.name)
        write_piece(piece)

    def engine(missing: Iterator[Piece]) -> Pieces:
        for piece in missing:
            counted(piece)
            yield piece

    assert find_landmarks(faces, out, engine=engine, images_per_piece=PER_PIECE)
    assert not done.keys() & set(made)
    assert out.read_bytes() == table


def test_processes_make_the_same_table(faces: FaceSet, table: bytes, tmp_path: Path) -> None:
    out = tmp_path / "faces.parquet"
    find_landmarks(faces, out, workers=2, images_per_piece=PER_PIECE)
    assert out.read_bytes() == table


def test_threads_do_not_matter_and_stay_as_they_were(
    faces: FaceSet, table: bytes, tmp_path: Path
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        find_landmarks(faces, tmp_path / "faces.parquet", images_per_piece=PER_PIECE)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert (tmp_path / "faces.parquet").read_bytes() == table


def test_pieces_of_another_size_make_the_same_rows(
    faces: FaceSet, table: bytes, tmp_path: Path
) -> None:
    find_landmarks(faces, tmp_path / "faces.parquet", images_per_piece=9)
    assert pq.read_table(tmp_path / "faces.parquet").equals(pq.read_table(io.BytesIO(table)))


def test_pieces_of_another_plan_are_refused(faces: FaceSet, tmp_path: Path) -> None:
    out = tmp_path / "faces.parquet"

    def stop(missing: Iterator[Piece]) -> Pieces:
        piece = next(missing)
        write_piece(piece)
        yield piece
        raise Face2ExpError("stop")

    with pytest.raises(Face2ExpError, match="stop"):
        find_landmarks(faces, out, engine=stop, images_per_piece=PER_PIECE)
    with pytest.raises(Face2ExpError, match="delete it to begin anew"):
        find_landmarks(faces.subset(np.arange(9)), out, images_per_piece=PER_PIECE)
    with (
        FileLock(tmp_path / "faces.parquet.pieces" / ".lock"),
        pytest.raises(Face2ExpError, match="another process is at work there"),
    ):
        find_landmarks(faces, out, images_per_piece=PER_PIECE)


@pytest.fixture
def broken(faces: FaceSet, tmp_path: Path) -> FaceSet:
    """Three faces and a file cut off in the middle."""
    folder = tmp_path / "broken"
    (folder / "people").mkdir(parents=True)
    for index, image in enumerate(faces.ids[:3]):
        (folder / image).write_bytes(faces.images.read(index))
    whole = faces.images.read(3)
    (folder / "people" / "zz.webp").write_bytes(whole[: len(whole) // 2])
    return read_identity_folders(folder, "", "")


def test_unreadable_images_are_an_error_and_are_looked_at_again(
    broken: FaceSet, tmp_path: Path
) -> None:
    out = tmp_path / "faces.parquet"
    with pytest.raises(Face2ExpError, match=r"broken: 1 unreadable images.*zz.webp.*--skip-bad"):
        find_landmarks(broken, out, images_per_piece=2)
    assert not out.exists()
    assert isinstance(broken.images, FileImages)
    (broken.images.root / "people" / "zz.webp").write_bytes(broken.images.read(0))
    find_landmarks(broken, out, images_per_piece=2)
    assert pq.read_table(out)["state"].to_pylist() == ["detected"] * 4


def test_unreadable_images_are_rows_if_asked_for(broken: FaceSet, tmp_path: Path) -> None:
    out = tmp_path / "faces.parquet"
    find_landmarks(broken, out, skip_bad=True, images_per_piece=2)
    rows = pq.read_table(out).to_pydict()
    assert rows["state"] == ["detected"] * 3 + ["unreadable"]
    assert "zz.webp" in rows["reason"][3]
    assert rows["width"][3] is None
    attached = attach(broken, out, "face")
    assert attached.canonical is not None
    assert attached.canonical.tolist() == [False, False, False, True]


def test_points_that_cannot_be_a_face_are_marked(faces: FaceSet) -> None:
    class UpsideDown(Detector):
        def __init__(self) -> None:
            pass

        def detect(self, images: object) -> Detections:
            points = np.array([[[20, 40], [40, 40], [30, 30], [22, 20], [38, 20.0]]])
            box = np.array([[10, 10, 50, 50.0]])
            return Detections(np.array([0.9]), box, points, np.array([3]))

    found = look(UpsideDown(), faces.subset(np.array([0])))
    assert found.table().to_pydict()["state"] == ["implausible"]
    assert found.reasons == ["eyes below the mouth"]
    assert found.faces.tolist() == [3]


def test_a_full_disk_leaves_no_table(
    faces: FaceSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(landmarking, "sync", full)
    out = tmp_path / "faces.parquet"
    with pytest.raises(Face2ExpError, match=r"cannot write \(No space left on device\)"):
        find_landmarks(faces.subset(np.arange(2)), out)
    assert not out.exists()
    monkeypatch.undo()
    assert find_landmarks(faces.subset(np.arange(2)), out)


def test_nothing_to_look_at(faces: FaceSet, tmp_path: Path) -> None:
    with pytest.raises(Face2ExpError, match="has no image"):
        find_landmarks(faces.subset(np.arange(0)), tmp_path / "x.parquet")


def test_a_piece_that_is_damaged_is_named(faces: FaceSet, tmp_path: Path) -> None:
    out = tmp_path / "faces.parquet"

    def damage(missing: Iterator[Piece]) -> Pieces:
        for piece in missing:
            write_piece(piece)
            piece.path.write_bytes(b"PAR1")
            yield piece

    with pytest.raises(Face2ExpError, match=r"0{12}.parquet: not a readable piece"):
        find_landmarks(faces.subset(np.arange(2)), out, engine=damage)


def test_on_real_faces(real_faces: Path, tmp_path: Path) -> None:
    faces = read_identity_folders(real_faces / "lfw", "", "")
    some = faces.subset(np.arange(0, len(faces), len(faces) // 24))
    find_landmarks(some, tmp_path / "lfw.parquet")
    states = pq.read_table(tmp_path / "lfw.parquet")["state"].to_pylist()
    assert states.count("detected") >= len(some) - 1


def test_ray_makes_the_same_table(faces: FaceSet, table: bytes, tmp_path: Path) -> None:
    """On two workers of a cluster of its own, with a task that is lost and done again."""
    pytest.importorskip("ray", reason="the extra `ray` is missing")
    out, lost = tmp_path / "faces.parquet", tmp_path / "lost"
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from face2exp_lib.preparation import landmark_ray\n"
        "from face2exp_lib.data.formats.folders import read_identity_folders\n"
        "from face2exp_lib.preparation.landmarking import find_landmarks\n"
        "folder, out, lost = map(Path, sys.argv[1:])\n"
        "rows_of = landmark_ray.rows_of\n"
        "def once(piece):\n"
        "    if '8.parquet' in piece.path.name and not lost.exists():\n"
        "        lost.touch()\n"
        "        os._exit(1)\n"
        "    return rows_of(piece)\n"
        "landmark_ray.rows_of = once\n"
        "faces = read_identity_folders(folder, '', '')\n"
        "engine = landmark_ray.ray_engine(2, None)\n"
        f"find_landmarks(faces, out, engine=engine, images_per_piece={PER_PIECE})\n"
    )
    assert isinstance(faces.images, FileImages)
    arguments = [str(faces.images.root), str(out), str(lost)]
    # Ray's sockets lie below it, and their paths may not be long.
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        done = subprocess.run(
            [sys.executable, "-W", "error::ResourceWarning", "-c", program, *arguments],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"RAY_TMPDIR": folder},
            capture_output=True,
            text=True,
            timeout=600,
        )
    assert done.returncode == 0, done.stderr
    assert lost.exists()
    assert out.read_bytes() == table


def test_ray_that_is_missing_or_silent_is_named(
    faces: FaceSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from face2exp_lib.preparation.landmark_ray import ray_engine

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(Face2ExpError, match=r"pip install 'face2exp-lib\[ray\]'"):
        find_landmarks(faces, tmp_path / "x.parquet", engine=ray_engine(2, None))


def test_the_plan_is_readable(faces: FaceSet, tmp_path: Path) -> None:
    def stop(missing: Iterator[Piece]) -> Pieces:
        yield from ()
        raise Face2ExpError("stop")

    with pytest.raises(Face2ExpError, match="stop"):
        find_landmarks(faces, tmp_path / "x.parquet", engine=stop)
    plan = json.loads((tmp_path / "x.parquet.pieces" / "plan.json").read_text())
    assert plan["images"] == COUNT
    assert plan["images_per_piece"] == landmarking.IMAGES_PER_PIECE
    assert landmarking.BATCH == 32
