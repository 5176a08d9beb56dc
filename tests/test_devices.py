"""What must be the same on a GPU as on a CPU.

    pytest -m gpu                   both, the GPU's where there is one
    pytest -m gpu --device cuda     on the GPU alone; without one they fail
    pytest -m gpu --device cpu      the same tests on the CPU, where they mean something there

The reference is the CPU in float64, and the paper's own lines (`algorithm_1`) where there are any.
"""

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, cast

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.augmentation.apply import STD, _apply_torch, apply_view
from face2exp_lib.augmentation.draw import draw_extensive
from face2exp_lib.augmentation.patches import AugOptions, draw_aug
from face2exp_lib.config import RunConfig
from face2exp_lib.data.sets.landmarks import CANONICAL_POINTS
from face2exp_lib.evaluation.inference import evaluate_network
from face2exp_lib.methods import METHODS
from face2exp_lib.methods.feedback import FeedbackHistory
from face2exp_lib.methods.meta_face2exp import MetaOptions, algorithm_1, meta_step
from face2exp_lib.methods.passes import PLAIN, Compute, compile_networks
from face2exp_lib.networks import build_network
from face2exp_lib.training import loop as training
from face2exp_lib.training.loop import train
from tests import device_process
from tests.device_process import ETA, whole_batch
from tests.training.runs import Killed, assert_same_run

pytestmark = pytest.mark.gpu
Tiny = Callable[..., RunConfig]
ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
# cuBLAS needs it, before it is first used, to compute the same bits each time.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@pytest.fixture(autouse=True)
def _whole_float32() -> Iterator[None]:
    """Without TF32: it keeps 11 bits of a product's factors, and torch allows convolutions that."""
    cudnn: Any = torch.backends.cudnn
    where, key, whole = cudnn, "allow_tf32", cast(Any, False)
    if hasattr(cudnn, "conv"):  # since torch 2.9
        where, key, whole = cudnn.conv, "fp32_precision", "ieee"
    before = getattr(where, key)
    setattr(where, key, whole)
    yield
    setattr(where, key, before)


def pair(device: torch.device, dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    """B and A."""
    base, adaptation = device_process.networks(device, dtype, "local")
    return base, adaptation


def moved(networks: tuple[nn.Module, ...]) -> Tensor:
    """How far all weights have come from where `pair` begins, on the CPU in float64."""
    ends = [p.detach().to(CPU, torch.float64) for net in networks for p in net.parameters()]
    starts = [p.detach() for net in pair(CPU, torch.float64) for p in net.parameters()]
    return torch.cat([(end - start).flatten() for end, start in zip(ends, starts, strict=True)])


def apart(found: Tensor, expected: Tensor) -> float:
    """Length of the difference as a part of the length expected."""
    return float((found - expected).norm() / expected.norm())


def one_step(
    device: torch.device,
    dtype: torch.dtype,
    compute: Compute = PLAIN,
    generator: torch.Generator | None = None,
    eta: float = ETA,
    **options: Any,
) -> tuple[Tensor, dict[str, Tensor]]:
    """How far B and A move in a step of Meta-Face2Exp, and what it tells, on the CPU."""
    networks = pair(device, dtype)
    compile_networks(networks, compute)
    batch = whole_batch(0, device, dtype)
    sgd_b, sgd_a = (SGD(network.parameters(), lr=eta) for network in networks)
    told = meta_step(
        *networks,
        sgd_b,
        sgd_a,
        batch,
        MetaOptions(**options),
        FeedbackHistory(),
        compute,
        generator=generator,
    )
    assert {value.device.type for value in told.values()} == {device.type}
    return moved(networks), {name: value.detach().cpu() for name, value in told.items()}


# Views


def photographs(number: int, side: int) -> Tensor:
    """(N, 3, S, S) uint8: smooth, as faces are beside noise."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(256, (number, 3, side // 8, side // 8), generator=generator).float()
    smooth = nn.functional.interpolate(coarse, (side, side), mode="bicubic")
    return smooth.clamp(0, 255).round().to(torch.uint8)


@pytest.mark.parametrize("kind", ["extensive", "aug"])
def test_views_are_those_of_torch_on_the_cpu(device: torch.device, kind: str) -> None:
    """On a GPU in the same float32 arithmetic; on a CPU OpenCV's, which rounds to 8 bits."""
    faces, generator = photographs(16, 64), torch.Generator().manual_seed(1)
    if kind == "aug":
        points = torch.tensor(CANONICAL_POINTS)[None].expand(16, -1, -1) * 64
        options = {"crop_fraction": 0.75, "stored_size": 64}
        view = draw_aug(points, generator, AugOptions(), **options)  # type: ignore[arg-type]
    else:
        view = draw_extensive(16, generator, crop_fraction=0.75)
    expected = _apply_torch(faces, view, 48)
    there = view.to(device)
    assert {getattr(there, field.name).device.type for field in fields(there)} == {device.type}
    found = apply_view(faces.to(device), there, 48)
    assert found.device.type == device.type
    assert found.is_contiguous(memory_format=torch.channels_last)
    levels = (found.cpu() - expected).abs() * 255 * torch.tensor(STD)[:, None, None]
    if device.type == "cpu":
        assert levels.quantile(0.98) < 2  # the rest is posterised, or at the edge of a patch
        assert levels.mean() < 1
    else:
        # A value on the edge of a step of posterise or solarise may fall to either side.
        assert levels.quantile(0.999) < 0.05
        assert levels.mean() < 0.01
    assert torch.equal(found.cpu() == 0, expected == 0) or device.type == "cpu"


def test_views_of_an_evaluation_are_the_same(device: torch.device) -> None:
    """The centre crop is no more than a crop: the same to a rounding everywhere."""
    from face2exp_lib.augmentation.draw import centre_view

    faces, view = photographs(4, 64), centre_view(4)
    found = apply_view(faces.to(device), view.to(device), 48).cpu()
    torch.testing.assert_close(found, _apply_torch(faces, view, 48), atol=1e-5, rtol=0)


# The step


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-3)])
def test_a_step_is_that_of_algorithm_1(
    device: torch.device, dtype: torch.dtype, tolerance: float
) -> None:
    expected = pair(CPU, torch.float64)
    algorithm_1(*expected, whole_batch(0, CPU, torch.float64), ETA, ETA)
    found, told = one_step(device, dtype)
    assert apart(found, moved(expected)) < tolerance
    without_f, _ = one_step(device, dtype, w_f=0.0)
    assert apart(without_f, moved(expected)) > 3 * tolerance  # it would be seen
    assert abs(told["feedback"]) > 0


OPTIONS: dict[str, dict[str, Any]] = {
    "none": {"feedback": "none"},
    "jvp": {"feedback": "jvp"},
    "finite_difference": {"feedback": "finite_difference"},
    "trapezoid": {"feedback": "trapezoid", "feedback_norm": "standard"},
    "cosine": {"feedback_norm": "cosine"},
    "images": {"feedback_unit": "image", "feedback_norm": "standard"},
    "shuffled": {"feedback_unit": "image", "feedback_batch": "shuffled"},
    "earlier": {"feedback_batch": "earlier"},
    "reweight": {"reweight": "image"},
    "drawn": {"pseudo_labels": "drawn", "pseudo_label_threshold": 0.2},
    "balance": {"balance": "pseudo"},
    "align": {"balance": "align"},
    "together": {"batch_norm": "together"},
    "steps": {"adaptation_labels": "steps"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_every_reading_of_the_step_is_that_of_the_cpu(
    cuda: torch.device, options: dict[str, Any]
) -> None:
    """What is drawn is drawn on the CPU, so it is the same; no tensor is left on another device."""
    (expected, told), (found, told_there) = (
        one_step(where, torch.float64, generator=torch.Generator().manual_seed(0), **options)
        for where in (CPU, cuda)
    )
    assert apart(found, expected) < 1e-9
    for name, value in told.items():
        torch.testing.assert_close(told_there[name], value, rtol=1e-7, atol=1e-9, msg=name)


def test_ways_to_f_agree(device: torch.device) -> None:
    """exact and jvp are one number; what the labelled loss fell by is f to first order in eta, and
    what the trapezoid gives to second."""
    found = {
        way: one_step(device, torch.float64, eta=0.0003, feedback=way)[1]["feedback"].item()
        for way in ("exact", "jvp", "finite_difference", "trapezoid")
    }
    assert found["jvp"] == pytest.approx(found["exact"], rel=1e-9)
    fall, first, second = (found[way] for way in ("finite_difference", "exact", "trapezoid"))
    assert first == pytest.approx(fall, rel=0.02)
    assert abs(second - fall) < abs(first - fall) / 2  # less would it be without the kinks of ReLU


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("way", ["exact", "jvp", "trapezoid", "finite_difference"])
def test_low_precision_leaves_f_unscaled(
    device: torch.device, precision: Literal["bfloat16", "float16"], way: str
) -> None:
    """Were the scale of float16's losses left in a gradient, f would be a thousand times as large;
    and f does not depend on it."""
    exact = one_step(device, torch.float32, feedback=way)[1]["feedback"].item()
    low = [
        one_step(
            device, torch.float32, Compute(precision=precision, loss_scale=scale), feedback=way
        )
        for scale in (1024.0, 64.0)
    ]
    values = [told["feedback"].item() for _, told in low]
    assert values[0] == pytest.approx(exact, rel=0.5)
    assert values[1] == pytest.approx(values[0], rel=0.1)
    assert {value.dtype for value in low[0][1].values() if value.is_floating_point()} == {
        torch.float32
    }


@pytest.mark.full
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_compiled_step_has_the_same_losses(device: torch.device) -> None:
    plain, told = one_step(device, torch.float32)
    fused, told_fused = one_step(device, torch.float32, Compute(compile=True))
    assert apart(fused, plain) < 1e-2
    for name in ("loss_s", "loss_u", "loss_c", "feedback"):
        torch.testing.assert_close(told_fused[name], told[name], rtol=1e-3, atol=1e-5, msg=name)


# Several processes


def together(number: int, tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """What processes of `tests/device_process.py` found, with `number` of them."""
    out = tmp_path / "out.pt"
    options = ["--nproc-per-node", str(number), "--master-port", "0", "--rdzv-backend", "c10d"]
    options += ["--rdzv-endpoint", "localhost:0"]
    command = [sys.executable, "-m", "torch.distributed.run", *options]
    done = subprocess.run(
        [*command, str(ROOT / "tests" / "device_process.py"), *arguments, str(out)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return dict(torch.load(out, weights_only=True))


def assert_one_batch(found: dict[str, Any], batch_norm: str) -> None:
    """As one process on the CPU takes the steps with whole batches."""
    weights, f = device_process.steps(CPU, torch.float64, batch_norm)
    for one, other in zip(found["weights"], weights, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)
    assert found["f"] == pytest.approx(f, rel=1e-6)
    assert all(f)


def test_two_processes_are_one_batch(device: torch.device, tmp_path: Path) -> None:
    """By gloo, on a machine with one GPU both of them on it; without batch norm, which would
    normalise by parts."""
    found = together(2, tmp_path, device.type, "gloo", "none")
    assert_one_batch(found, "none")


def test_synchronised_batch_norm_is_that_of_the_whole_batch(
    cuda: torch.device, tmp_path: Path
) -> None:
    """Two processes on one GPU by gloo: with `sync` even batch norm is as one process has it."""
    assert_one_batch(together(2, tmp_path, "cuda", "gloo", "sync"), "local")


@pytest.mark.parametrize("batch_norm", ["local", "sync"])
def test_one_process_by_nccl(cuda: torch.device, tmp_path: Path, batch_norm: str) -> None:
    assert_one_batch(together(1, tmp_path, "cuda", "nccl", batch_norm), "local")


@pytest.mark.parametrize("batch_norm", ["none", "sync"])
def test_two_processes_by_nccl(cuda: torch.device, tmp_path: Path, batch_norm: str) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("NCCL takes one process a GPU, and there is one GPU")
    whole = "local" if batch_norm == "sync" else batch_norm
    assert_one_batch(together(2, tmp_path, "cuda", "nccl", batch_norm), whole)


# Runs


def test_a_killed_run_goes_on_to_the_bit(
    device: torch.device,
    tiny: Tiny,
    squares_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With torch's deterministic algorithms; an operation that has none fails by name."""
    config = tiny(f"device={device.type}", "training.checkpoint_every_steps=2")
    finite = training._finite

    def dying(*seen: Any) -> Any:
        if seen[-1].step == 5:
            monkeypatch.setattr(training, "_finite", finite)
            raise Killed
        return finite(*seen)

    torch.use_deterministic_algorithms(True)
    try:
        train(config, tmp_path / "whole", squares_root)
        monkeypatch.setattr(training, "_finite", dying)
        with pytest.raises(Killed):
            train(config, tmp_path / "run", squares_root)
        train(config, tmp_path / "run", squares_root, resume=True)
    finally:
        torch.use_deterministic_algorithms(False)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains(
    cuda: torch.device, tiny: Tiny, squares_root: Path, tmp_path: Path, method: str
) -> None:
    """None has a tensor on the wrong device, in its first step or as it goes on from a state."""
    config = tiny("device=cuda", f"method={method}", "training.checkpoint_every_steps=1")
    train(config, tmp_path, squares_root)
    assert (tmp_path / "finished.json").exists()


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_run_in_low_precision(
    cuda: torch.device, tiny: Tiny, squares_root: Path, tmp_path: Path, precision: str
) -> None:
    train(tiny("device=cuda", f"compute.precision={precision}"), tmp_path, squares_root)
    assert (tmp_path / "finished.json").exists()


def test_an_evaluation_is_that_of_the_cpu(
    device: torch.device, tiny: Tiny, squares_root: Path
) -> None:
    from face2exp_lib.data.batches import DecodedFaces
    from face2exp_lib.data.splits import read_run_data

    config = tiny()
    data = read_run_data(config.data, 0, squares_root)
    faces = DecodedFaces(data.validation, config.data.stored_size, in_memory=True)
    network = build_network("small", 7, pretrained=False, seed=0).double()
    options: dict[str, Any] = {"view_size": 32, "num_classes": 7, "workers": 0, "title": "x"}
    network = network.float()
    expected, found = (
        evaluate_network(copy.deepcopy(network).to(where), faces, **options)
        for where in (CPU, device)
    )
    assert found == expected
