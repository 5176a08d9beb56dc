"""`face2exp pretrain`, and what it leaves for other runs."""

from pathlib import Path

from tests.cli.commands import MARKS, Capture, fail, succeed

pytestmark = MARKS
CONFIG = """\
name: persons
data: {faces: {format: identity_folders, path: people}, stored_size: 40, view_size: 32}
network: {backbone: small}
training: {num_steps: 2, batch_size: 4}
device: cpu
"""


def test_from_persons_to_a_run(
    capsys: Capture, config_path: Path, squares_root: Path, tmp_path: Path
) -> None:
    (tmp_path / "persons.yaml").write_text(CONFIG)
    begun = ("pretrain", tmp_path / "persons.yaml", "--run-dir", tmp_path / "pre")
    root = ("--data-root", squares_root)
    out = succeed(capsys, *begun, *root)
    assert out == f"{tmp_path / 'pre'}: pre-trained; next: --set network.pretrained=" + (
        f"{tmp_path / 'pre'} of a run\n"
    )
    succeed(capsys, *begun, *root, "--resume")
    assert "give --resume, too" in fail(capsys, *begun, *root, "--changed")
    assert "holds a run already" in fail(capsys, *begun, *root)
    weights = tmp_path / "faces.safetensors"
    out = succeed(capsys, "export", tmp_path / "pre", "--out", weights, "--half")
    assert out == (
        f"{weights}: {weights.stat().st_size:,} bytes, for network.pretrained of another run\n"
    )
    changes = ("--set", "method=supervised", "--set", f"network.pretrained={weights}")
    succeed(capsys, "train", config_path, "--run-dir", tmp_path / "run", *root, *changes)
    assert "--half is of weights" in fail(
        capsys, "export", tmp_path / "run", "--out", tmp_path / "x.onnx", "--half"
    )


def test_the_other_verb_is_named(capsys: Capture, config_path: Path, tmp_path: Path) -> None:
    (tmp_path / "persons.yaml").write_text(CONFIG)
    assert "`face2exp pretrain` takes it" in fail(capsys, "train", tmp_path / "persons.yaml")
    assert "data.faces: missing: add it" in fail(capsys, "pretrain", config_path)
    error = fail(capsys, "pretrain", "gone.yaml")
    assert error == "gone.yaml: no such config: give a YAML file like those in configs/"


def test_a_set_that_names_nobody(capsys: Capture, squares_root: Path, tmp_path: Path) -> None:
    (tmp_path / "persons.yaml").write_text(CONFIG)
    faces = "data.faces={format: class_folders, path: squares, part: train}"
    error = fail(
        capsys, "pretrain", tmp_path / "persons.yaml", "--set", faces, "--data-root", squares_root
    )
    assert "does not say whose faces it holds" in error
