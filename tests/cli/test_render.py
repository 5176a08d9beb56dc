"""`face2exp data render`: drawn, interrupted, refused."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from face2exp_lib.cli.main import main
from tests.cli.commands import MARKS, Capture, fail, succeed

pytestmark = MARKS


FACES = "{count: 6, size: 16, num_identities: 8, classes: {happy: 1, contempt: 1, sad+anger: 1}}"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "faces.yaml"
    path.write_text(FACES)
    return path


@pytest.mark.parametrize("layout", ["zip", "folders"])
def test_render_and_inspect(capsys: Capture, spec: Path, tmp_path: Path, layout: str) -> None:
    out = tmp_path / "out"
    options = ("--out", out, "--workers", 1, "--format", layout)
    told = f"{out}: faces, 6 images as {layout}\n"
    assert succeed(capsys, "data", "render", spec, *options) == told
    assert (out / "faces.yaml").read_text() == FACES
    before = [path.stat().st_mtime_ns for path in out.iterdir()]
    assert succeed(capsys, "data", "render", spec, *options) == told
    assert [path.stat().st_mtime_ns for path in out.iterdir()] == before
    seen = succeed(capsys, "data", "inspect", out).split()
    for name, count in (("happy", "2"), ("sad", "2"), ("contempt", "2"), ("fear", "0")):
        assert seen[seen.index(name) + 1] == count


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: {happy: -2}", "faces.yaml: part 'faces': face spec: classes: weight -2.0"),
        ("classes: {joy: 1}", "unknown class 'joy': use neutral, happy"),
        ("units: {12: 1}", "unknown field 'units': use seed"),
        ("size: 0", "size: input should be greater than or equal to 16"),
        ("size: 10000", "size: input should be less than or equal to 1024"),
        ("count: 0", "count: input should be greater than or equal to 1"),
        ("num_identities: 2", "2 for 7 classes: give at least one identity per class"),
        ("count: many", "count: input should be a valid integer, got 'many'"),
        ("parts: {../../a: {}}", "part name '../../a' must be"),
        ("!!python/object/apply:os.abort []", "faces.yaml: not readable as YAML"),
        (None, "faces.yaml: no such file"),
        ("", "faces.yaml: holds no spec"),
    ],
)
def test_render_what_cannot_be(
    capsys: Capture, tmp_path: Path, text: str | None, message: str
) -> None:
    path, out = tmp_path / "faces.yaml", tmp_path / "out"
    if text is not None:
        path.write_text(text)
    assert message in fail(capsys, "data", "render", path, "--out", out)
    assert not out.exists()


def test_render_a_folder_or_into_a_file(capsys: Capture, spec: Path, tmp_path: Path) -> None:
    line = fail(capsys, "data", "render", tmp_path, "--out", tmp_path / "out")
    assert line == f"{tmp_path}: is a folder: give the YAML file in it"
    line = fail(capsys, "data", "render", spec, "--out", spec)
    assert f"{spec}: cannot write here" in line


@pytest.mark.parametrize("workers", ["0", "-1", "257", "two", "1.5", ""])
def test_render_with_no_number_of_workers(capsys: Capture, spec: Path, workers: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["data", "render", str(spec), "--out", "x", f"--workers={workers}"])
    assert stop.value.code == 2
    assert f"needs a number from 1 to 256, got '{workers}'" in capsys.readouterr().err


def test_render_on_a_full_disk(
    capsys: Capture, spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    line = fail(capsys, "data", "render", spec, "--out", tmp_path / "out", "--workers", 1)
    assert line.endswith("cannot write (No space left on device): free some space and run again")


def test_interrupted_render_says_that_it_goes_on(
    capsys: Capture, spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("face2exp_lib.rendering.pack.render_face", interrupt)
    assert main(["data", "render", str(spec), "--out", str(tmp_path), "--workers", "1"]) == 130
    line = "face2exp: interrupted: run again to go on; what is drawn is kept"
    assert capsys.readouterr().err.splitlines()[-1] == line


def run_apart(program: str, *arguments: Any) -> "subprocess.Popen[bytes]":
    """A process in a session of its own, as a terminal starts one; one in the background, where
    tests may run, would ignore Ctrl-C."""
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    return subprocess.Popen(
        [sys.executable, "-c", heed + program, *map(str, arguments)],
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def test_ctrl_c_ends_render_and_its_workers_at_once(spec: Path, tmp_path: Path) -> None:
    """The terminal sends the signal to all of them."""
    spec.write_text("{count: 5000, size: 16}")
    program = (
        "import sys; from face2exp_lib.cli.main import main; "
        "from face2exp_lib.rendering import pack; pack.CHUNK_IMAGES = 4; "
        "sys.exit(main(sys.argv[1:]))"
    )
    arguments = ("data", "render", spec, "--out", tmp_path / "out", "--workers", 2)
    with run_apart(program, *arguments) as process:
        while not list(tmp_path.glob("out/.faces.*/*.zip")):
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        err = process.communicate()[1].decode()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("face2exp: interrupted: run again")


@pytest.mark.parametrize("workers", [1, 2])
def test_render_without_numba(spec: Path, tmp_path: Path, workers: int) -> None:
    """In the workers, too, which import everything anew."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'numba' else find(name, *a)\n"
    )
    arguments = ("data", "render", spec, "--out", tmp_path / "out", "--workers", str(workers))
    result = subprocess.run(
        [sys.executable, "-m", "face2exp_lib.cli", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "drawing faces needs numba" in result.stderr.splitlines()[-1]


def test_render_imports_no_torch(spec: Path, tmp_path: Path) -> None:
    """It would cost each worker seconds."""
    program = (
        "import sys; from face2exp_lib.cli.main import main; status = main(sys.argv[1:]); "
        "sys.exit(status or 'torch' in sys.modules)"
    )
    arguments = ("data", "render", spec, "--out", tmp_path / "out", "--workers", 1)
    with run_apart(program, *arguments) as process:
        err = process.communicate()[1].decode()
    assert process.returncode == 0, err
