"""What results say of where they come from, and what they do not."""

import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

import face2exp_lib
from face2exp_lib.runtime import provenance, resources
from face2exp_lib.runtime.errors import Face2ExpError


def test_environment_names_versions_and_machine() -> None:
    found = provenance.environment()
    assert found["face2exp_lib"] == face2exp_lib.__version__
    assert found["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert set(found["packages"]) == {"torch", "torchvision", "numpy", "Pillow", "scikit-learn"}
    assert found["machine"]["cores"] == os.cpu_count()
    assert found["machine"]["processor"]
    json.dumps(found, allow_nan=False)


def test_environment_names_no_host_user_or_path() -> None:
    text = json.dumps(provenance.environment())
    assert str(Path(face2exp_lib.__file__).parent) not in text
    private = (socket.gethostname(), str(Path.home()), os.environ.get("USER", ""))
    for name in private:
        assert len(name) < 5 or name not in text  # a short one may be a part of another word


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    result = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return result.stdout.strip()


def test_commit_of_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = tmp_path / "package" / "runtime"
    room.mkdir(parents=True)
    (room / "provenance.py").write_text("1")
    monkeypatch.setattr(provenance, "__file__", str(room / "provenance.py"))
    assert provenance.environment()["git_commit"] is None  # no checkout
    git(tmp_path, "init", "--quiet")
    assert provenance.environment()["git_commit"] is None  # no commit
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert provenance.environment()["git_commit"] == commit
    (tmp_path / "notes.txt").write_text("outside the package")
    assert provenance.environment()["git_commit"] == commit
    (room / "provenance.py").write_text("2")
    assert provenance.environment()["git_commit"] == commit + "-dirty"


def test_machine_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr("subprocess.run", missing)
    assert provenance.environment()["git_commit"] is None


def test_machine_without_proc_has_a_processor_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read_text = Path.read_text

    def without_proc(path: Path, *arguments: Any, **options: Any) -> str:
        if path == Path("/proc/cpuinfo"):
            raise FileNotFoundError(path)
        return read_text(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", without_proc)
    assert provenance.environment()["machine"]["processor"]


def test_shipped_looks_inside_the_package_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    package.mkdir()
    monkeypatch.setattr(resources, "__file__", str(package / "runtime" / "resources.py"))
    with pytest.raises(Face2ExpError, match="'configs' is missing from this installation"):
        resources.shipped("configs")
    (tmp_path / "configs").mkdir()
    assert resources.shipped("configs") == tmp_path / "configs"
    (package / "_configs").mkdir()
    assert resources.shipped("configs") == package / "_configs"
