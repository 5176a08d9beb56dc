"""Tiny data that the tests share: coloured squares in the layouts that the library reads."""

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from face2exp_lib.config import RunConfig, load_config
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.training.loop import train

REAL_FACES = os.environ.get("FACE2EXP_DATA")  # before a test takes it away
SIZE = 40
TEST_IMAGES = 3  # of each class
TRAIN_IMAGES = {name: 10 if name == "happy" else 6 for name in class_names(7)}
COPIED = ("happy", "sad")  # one test image of each lies in train, too

CONFIG = """\
name: tiny
data:
  labelled: {format: class_folders, path: squares, part: train}
  test: {format: class_folders, path: squares, part: test}
  unlabelled: {format: identity_folders, path: people}
  validation_per_class: 2
  per_class: 3
  stored_size: 40
  view_size: 32
network: {backbone: small}
training:
  num_steps: 4
  batch_size_fer: 6
  batch_size_fr: 5
  eta_b: 0.05
  eta_a: 0.05
  momentum_b: 0.9
  momentum_a: 0.5
  warm_start_steps: 3
  finetune_steps: 3
  eta_finetune: 0.01
  eval_every_steps: 3
  checkpoint_every_steps: 2
device: cpu
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        choices=("cpu", "cuda"),
        help="of the tests marked gpu; default: the CPU, and CUDA where there is one",
    )


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Where a test marked gpu computes: it runs once on each device."""
    return _there(str(request.param), request.config.getoption("--device"))


@pytest.fixture
def cuda(request: pytest.FixtureRequest) -> torch.device:
    """A GPU, for tests that mean nothing on a CPU."""
    return _there("cuda", request.config.getoption("--device"))


def _there(name: str, asked: str | None) -> torch.device:
    """A device; the test is skipped where it is not asked for, or not there without being asked."""
    if asked not in (None, name):
        pytest.skip(f"--device {asked}")
    if name == "cuda" and not torch.cuda.is_available():
        assert asked is None, "--device cuda: torch finds no CUDA device here"
        pytest.skip("no CUDA device here")
    return torch.device(name)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Sums come out the same whatever the machine, and small nets are faster so."""
    torch.set_num_threads(1)


def square(code: int, seed: int) -> bytes:
    """A noisy square in the colour of its class, as PNG. Other seeds give other bytes."""
    generator = np.random.default_rng([code, seed])
    colour = np.array([code % 2, code // 2 % 2, code // 4 % 2]) * 160 + 40
    noise = generator.integers(-40, 40, (SIZE, SIZE, 3))
    buffer = io.BytesIO()
    Image.fromarray((colour + noise).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def picture() -> Callable[[int, int], bytes]:
    """`square`, for tests that make data of their own."""
    return square


def write_squares(folder: Path, first_seed: int, counts: dict[str, int]) -> None:
    for code, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            (folder / name / f"{number}.png").write_bytes(square(code, first_seed + number))


@pytest.fixture(scope="session")
def squares_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root, to be read only: `squares/train`, `squares/test` and `people`."""
    root = tmp_path_factory.mktemp("root")
    write_squares(root / "squares" / "train", 0, TRAIN_IMAGES)
    write_squares(root / "squares" / "test", 100, dict.fromkeys(class_names(7), TEST_IMAGES))
    for name in COPIED:
        copied = (root / "squares" / "test" / name / "0.png").read_bytes()
        (root / "squares" / "train" / name / "copy.png").write_bytes(copied)
    write_squares(root / "people", 200, {f"person{i}": 2 for i in range(6)})
    return root


@pytest.fixture(scope="session")
def config_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="session")
def tiny(config_path: Path) -> Callable[..., RunConfig]:
    """The tiny configuration with some keys changed."""

    def changed(*changes: str) -> RunConfig:
        return load_config(config_path, list(changes))

    return changed


@pytest.fixture(scope="session")
def finished_runs(
    tmp_path_factory: pytest.TempPathFactory, tiny: Callable[..., RunConfig], squares_root: Path
) -> dict[str, Path]:
    """A finished run of each method, to be read only; copy one to change it."""
    runs = {}
    for method in ("meta", "supervised"):
        runs[method] = tmp_path_factory.mktemp("runs") / method
        train(tiny(f"method={method}"), runs[method], squares_root)
    return runs


@pytest.fixture
def real_faces() -> Path:
    """The data root with FER2013 and LFW."""
    if not REAL_FACES:
        pytest.skip("FACE2EXP_DATA is not set: no real faces here")
    return Path(REAL_FACES)


@pytest.fixture
def no_real_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACE2EXP_DATA", raising=False)


@pytest.fixture
def contents() -> Callable[[Path], dict[str, bytes]]:
    """What the files below a folder hold, to see that nothing was overwritten."""

    def read(folder: Path) -> dict[str, bytes]:
        files: Sequence[Path] = [path for path in folder.rglob("*") if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    return read
