"""ONNX models against torch, and models that are broken on purpose."""

import builtins
import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from face2exp_lib.config import RunConfig, load_config
from face2exp_lib.data.formats.folders import read_class_folders
from face2exp_lib.data.sets.images import decode
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.evaluation.inference import predict_logits, predict_probabilities
from face2exp_lib.networks import build_network
from face2exp_lib.runs import export as module
from face2exp_lib.runs.card import weights_terms
from face2exp_lib.runs.export import Deployed, check_agreement, export_run, onnx_model
from face2exp_lib.runs.trained import load_trained
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.training.plans import initial_form

onnx = pytest.importorskip("onnx", reason="the export extra is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the export extra is not installed")
pytest.importorskip("onnxscript", reason="the export extra is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")  # the exporter's, about its own insides


@pytest.fixture(scope="module")
def exported(
    finished_runs: dict[str, Path], squares_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("export") / "model.onnx"
    faces = read_class_folders(squares_root / "squares", "test", "names")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", None)  # nothing is fetched
        agreement = export_run(finished_runs["meta"], out, faces)
    assert agreement.largest < 1e-5
    assert (agreement.num_random, agreement.num_real) == (4, 21)
    return out


def test_another_program_gets_the_run_s_predictions(
    exported: Path, finished_runs: dict[str, Path], squares_root: Path
) -> None:
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    faces = read_class_folders(squares_root / "squares", "test", "names")
    config, network, _ = load_trained(finished_runs["meta"])
    for number in (1, 5):
        pixels = torch.stack([decode(faces.images, i, 40) for i in range(number)])
        (found,) = session.run(["probabilities"], {"images": pixels.numpy()})
        expected = predict_probabilities(network, pixels, config.data.view_size)
        assert np.allclose(found, expected, atol=1e-5)


def test_file_says_what_it_is(exported: Path, finished_runs: dict[str, Path]) -> None:
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    assert (image.name, image.type, image.shape) == (
        "images",
        "tensor(uint8)",
        ["batch", 3, 40, 40],
    )
    assert [output.name for output in session.get_outputs()] == ["logits", "probabilities"]
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["class_names"]) == list(class_names(7))
    assert "(N, 3, 40, 40) uint8 RGB" in about["input"]
    assert about["method"] == "meta"
    assert "random weights" in about["weights_terms"]
    assert [one.version for one in onnx.load(exported).opset_import if not one.domain] == [18]


def test_file_names_no_file_of_this_machine(exported: Path) -> None:
    stored = exported.read_bytes()
    assert b"site-packages" not in stored
    assert str(Path(__file__).parents[2]).encode() not in stored
    assert b".py" not in stored


@pytest.mark.parametrize(("stored", "view"), [(40, 32), (41, 32), (40, 40), (45, 40)])
def test_preprocessing_inside_is_that_of_evaluation(stored: int, view: int) -> None:
    """The centre of an odd margin lies between pixels, where a CPU's views round to 8 bits."""
    network = build_network("small", 7, pretrained=False, seed=0).eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (3, 3, stored, stored), generator=generator, dtype=torch.uint8)
    with torch.no_grad():
        logits, probabilities = Deployed(network, view)(images)
    evaluated = predict_logits(network, images, view)
    rounding = 1e-5 if (stored - view) % 2 == 0 else 0.02
    torch.testing.assert_close(logits, evaluated, atol=rounding, rtol=1e-4)
    torch.testing.assert_close(probabilities, logits.softmax(1))


@pytest.fixture(scope="module")
def model(finished_runs: dict[str, Path]) -> tuple[RunConfig, Any, Any]:
    config, network, _ = load_trained(finished_runs["meta"])
    return config, network.eval(), onnx_model(config, network.eval())


@pytest.mark.parametrize("method", ["ran", "gacnn"])
def test_networks_of_other_forms_are_exported(tiny: Callable[..., RunConfig], method: str) -> None:
    config = tiny(f"method={method}")
    network = initial_form(config, "base").eval()
    stored = onnx_model(config, network).SerializeToString()
    assert check_agreement(stored, config, network, None).largest < 1e-4


@pytest.mark.parametrize("change", [0.1, np.nan])
def test_broken_weights_fail_the_check(model: tuple[RunConfig, Any, Any], change: float) -> None:
    config, network, whole = model
    assert check_agreement(whole.SerializeToString(), config, network, None).largest < 1e-5
    broken = onnx.ModelProto()
    broken.CopyFrom(whole)
    bias = next(one for one in broken.graph.initializer if one.name.endswith("fc.bias"))
    values = onnx.numpy_helper.to_array(bias) + np.array([change, *[0] * 6], np.float32)
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    with pytest.raises(Face2ExpError, match="outputs differ from torch's by up to"):
        check_agreement(broken.SerializeToString(), config, network, None)


def test_other_preprocessing_fails_the_check(
    model: tuple[RunConfig, Any, Any], tiny: Callable[..., RunConfig]
) -> None:
    _, network, whole = model
    other = tiny("data.view_size=36")
    with pytest.raises(Face2ExpError, match="outputs differ from torch's by up to"):
        check_agreement(whole.SerializeToString(), other, network, None)


def test_nothing_is_written_where_the_outputs_differ(
    finished_runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOLERANCE", -1.0)
    with pytest.raises(Face2ExpError, match="nothing is written"):
        export_run(finished_runs["meta"], tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_versions_that_do_not_fit_are_named(
    model: tuple[RunConfig, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, network, _ = model
    with pytest.raises(Face2ExpError, match=r"onnxruntime cannot read .*: try a newer onnxruntime"):
        check_agreement(b"of a later version", config, network, None)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("at 0x7f")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(Face2ExpError, match="torch's exporter fails here: try other versions"):
        onnx_model(config, network)


def test_mistakes_are_named(
    finished_runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Face2ExpError, match=r"model\.pt: name the file \.onnx"):
        export_run(finished_runs["meta"], tmp_path / "model.pt")
    empty = Path(shutil.copytree(finished_runs["meta"], tmp_path / "run"))
    (empty / "checkpoints" / "best.pt").unlink()
    with pytest.raises(Face2ExpError, match="no such checkpoint"):
        export_run(empty, tmp_path / "model.onnx")
    real_import = builtins.__import__

    def without(name: str, *rest: Any, **others: Any) -> Any:
        if name.startswith("onnxruntime"):
            raise ImportError("no", name="onnxruntime")
        return real_import(name, *rest, **others)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Face2ExpError, match=r"exporting needs onnxruntime: pip install 'face2exp"):
        export_run(finished_runs["meta"], tmp_path / "model.onnx")


def test_pretrained_weights_bring_their_terms() -> None:
    config = load_config(Path("fer2013_lfw_cpu.yaml"), ["network.backbone=resnet50"])
    assert "random weights" in weights_terms(config)
    pretrained = load_config(
        Path("fer2013_lfw_cpu.yaml"), ["network.backbone=resnet50", "network.pretrained=true"]
    )
    terms = weights_terms(pretrained)
    assert "torchvision's ImageNet weights of resnet50" in terms
    assert "LFW: public, for research" in terms
