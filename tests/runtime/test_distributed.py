"""Two processes against one: means, parameters and f, and whole runs under torchrun."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from face2exp_lib import networks
from face2exp_lib.config import RunConfig, dump_config
from face2exp_lib.methods.feedback import FeedbackHistory
from face2exp_lib.methods.meta_face2exp import MetaOptions, meta_step
from face2exp_lib.methods.method import StepBatch
from face2exp_lib.methods.passes import Compute
from face2exp_lib.runtime import distributed as world
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import read_jsonl
from face2exp_lib.training.loop import train
from face2exp_lib.training.plans import plan_run
from face2exp_lib.training.run_checks import must_part
from face2exp_lib.training.telemetry import parts
from tests.methods.toy import Flat, shared, taken
from tests.run_data import run_data

Tiny = Callable[..., RunConfig]
ROOT = Path(__file__).parents[2]
STEPS = 3


def launched(arguments: list[str], number: int = 2) -> list[str]:
    options = ["--nproc-per-node", str(number), "--master-port", "0", "--rdzv-backend", "c10d"]
    options += ["--rdzv-endpoint", "localhost:0"]
    return [sys.executable, "-m", "torch.distributed.run", *options, *arguments]


def started(arguments: list[str], number: int = 2, **options: Any) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        launched(arguments, number),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def succeeded(process: subprocess.Popen[str]) -> str:
    out, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    return out


def net(seed: int, batch_norm: bool) -> nn.Module:
    """A small one, in double precision."""
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)] if batch_norm else [nn.Conv2d(3, 4, 3)]
    head = [nn.Tanh(), nn.Flatten(), nn.Linear(4 * 6 * 6, 5)]
    return nn.Sequential(*layers, *head).double()


DEPARTURES: dict[str, dict[str, Any]] = {
    "images": {
        "feedback": "trapezoid",
        "feedback_unit": "image",
        "feedback_norm": "standard",
        "feedback_batch": "shuffled",
        "pseudo_labels": "drawn",
        "balance": "align",
    },
    "weights": {
        "feedback_unit": "image",
        "feedback_norm": "standard",
        "reweight": "image",
        "balance": "pseudo",
        "pseudo_label_threshold": 0.25,
        "consistency_threshold": 0.25,
        "adaptation_labels": "steps",
    },
}


def steps(way: str, batch_norm: bool, compute: Compute) -> tuple[list[torch.Tensor], list[float]]:
    """A few steps of Algorithm 1 on this process's share of batches of 8 and 12."""
    base, adaptation = net(0, batch_norm), net(1, batch_norm)
    optimiser_b, optimiser_a = (
        torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        for network in (base, adaptation)
    )
    history, found = FeedbackHistory(), []
    for step in range(STEPS):
        generator = torch.Generator().manual_seed(step)
        fer, fr, aug = (
            torch.randn(n, 3, 8, 8, generator=generator, dtype=torch.float64) for n in (8, 12, 12)
        )
        labels = torch.randint(5, (8,), generator=generator)
        n, m = world.share(8), world.share(12)
        batch = StepBatch(fer[n], labels[n], fr[m], aug[m])
        options = MetaOptions(**DEPARTURES.get(way, {"feedback": way}))
        losses = meta_step(
            base,
            adaptation,
            optimiser_b,
            optimiser_a,
            batch,
            options,
            history,
            compute,
            generator=generator,
        )
        found.append(losses["feedback"].item())
    weights = [p.detach() for network in (base, adaptation) for p in network.parameters()]
    return [*weights, *history.state_dict().values()], found


TIED: dict[str, dict[str, Any]] = {
    "mean_teacher": {"w_c": 10.0},
    "remixmatch": {"ramp": 0.0},
    "freematch": {"w_f": 0.5, "decay": 0.5},
    "ada_cm": {"w_c": 2.0, "floor": 0.25},
    "ipa2lt": {},
}


def tied_steps() -> tuple[list[torch.Tensor], list[float]]:
    """Steps of the methods whose loss knows the images of a whole batch, or what came before it."""
    kept: list[torch.Tensor] = []
    for name, options in TIED.items():
        generator, batches = torch.Generator().manual_seed(0), []
        for _ in range(STEPS):
            fer, fr, aug = (
                torch.randn(n, 3, 4, 4, generator=generator, dtype=torch.float64)
                for n in (8, 12, 12)
            )
            labels = torch.randint(5, (8,), generator=generator)
            batches.append(shared(StepBatch(fer, labels, fr, aug)))
        network = Flat(3 * 4 * 4, 5, seed=0).double()
        run, _ = taken(name, network, batches, [2] * 5, options, eta=0.5, momentum=0.9)
        for net in run.networks.values():
            kept += [value.detach() for value in net.parameters()]
        kept += run.extra.values()
    return kept, []


def main() -> None:
    """A process of the tests below: the same steps on its share; the first one writes."""
    way, batch_norm, out = sys.argv[1:]
    with world.joined("cpu"):
        assert world.size() == 2
        tied = way == "tied"
        weights, found = tied_steps() if tied else steps(way, batch_norm == "yes", Compute())
        assert world.gather(torch.tensor([world.rank()])).tolist() == [0, 1]
        assert world.anywhere(world.rank() == 1, torch.device("cpu"))
        assert not world.anywhere(False, torch.device("cpu"))
        if world.rank() == 0:
            torch.save({"weights": weights, "f": found}, out)


@pytest.mark.parametrize("way", ["exact", "trapezoid", "jvp", "finite_difference", *DEPARTURES])
def test_two_processes_are_one_where_nothing_ties_a_batch_together(
    way: str, tmp_path: Path
) -> None:
    out = tmp_path / "out.pt"
    succeeded(started([__file__, way, "no", str(out)]))
    found = torch.load(out, weights_only=True)
    weights, f = steps(way, False, Compute())
    for one, other in zip(weights, found["weights"], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)
    assert found["f"] == pytest.approx(f, rel=1e-6)
    assert all(f)


def test_so_they_are_where_a_method_ties_it_together(tmp_path: Path) -> None:
    out = tmp_path / "out.pt"
    succeeded(started([__file__, "tied", "no", str(out)]))
    found = torch.load(out, weights_only=True)["weights"]
    expected, _ = tied_steps()
    # networks, the student, turns, matrices, and what is kept: 2, 3, 3 and the coders' labels
    assert len(expected) == 6 * 4 + 2 + 1 + 9
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


def test_with_batch_norm_they_are_one_that_works_in_their_parts(tmp_path: Path) -> None:
    out = tmp_path / "out.pt"
    succeeded(started([__file__, "exact", "yes", str(out)]))
    found = torch.load(out, weights_only=True)
    parted = _in_halves()
    for one, other in zip(parted[0], found["weights"], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)
    assert found["f"] == pytest.approx(parted[1], rel=1e-6)
    whole, _ = steps("exact", True, Compute())
    assert not torch.allclose(whole[0], found["weights"][0], rtol=1e-6)


def _in_halves() -> tuple[list[torch.Tensor], list[float]]:
    """Steps in which every pass goes through the network in two halves."""
    from face2exp_lib.methods import passes

    before = passes._parts

    def halves(num_images: int, compute: Compute, beside: object) -> Any:
        for start in (0, num_images // 2):
            yield slice(start, start + num_images // 2), 0.5, beside

    passes._parts = halves  # type: ignore[assignment]
    try:
        return steps("exact", True, Compute())
    finally:
        passes._parts = before


def config_file(tmp_path: Path, tiny: Tiny, *changes: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(tiny("training.batch_size_fr=6", *changes)))
    return path


def arguments(config: Path, run: Path, root: Path) -> list[str]:
    folders = ["--run-dir", str(run), "--data-root", str(root), "--resume"]
    return ["-m", "face2exp_lib.cli", "train", str(config), *folders]


def test_a_run_under_torchrun_is_the_run_in_parts(
    tiny: Tiny, squares_root: Path, tmp_path: Path
) -> None:
    """Losses, f, pseudo labels and the rows of every image, beside one process with micro-batches
    of a process's size."""
    changes = ("telemetry.image_feedback_every=2", "training.ema=0.5")
    config = config_file(tmp_path, tiny, *changes)
    out = succeeded(started(arguments(config, tmp_path / "two", squares_root)))
    assert out.count("trained; next") == 1
    train(
        tiny(
            "training.batch_size_fr=6",
            "compute.micro_batch_size=3",
            *changes,
        ),
        tmp_path / "one",
        squares_root,
    )
    assert json.loads((tmp_path / "two" / "environment.json").read_text())["processes"] == 2
    one, two = (read_jsonl(tmp_path / name / "metrics.jsonl") for name in ("one", "two"))
    for single, double in zip(one, two, strict=True):
        for key, value in single.items():
            if isinstance(value, float):
                assert double[key] == pytest.approx(value, rel=1e-3, abs=1e-5), key
        assert double.get("pseudo_labels") == single.get("pseudo_labels")
    checkpoint = "checkpoints/step-00000010.pt"
    averages, expected = (
        torch.load(tmp_path / name / checkpoint, weights_only=True)["averages"]["adaptation"]
        for name in ("two", "one")
    )
    for key, value in expected.items():
        # Each part moves the running ones: twice in a step, or once and on average.
        if not key.endswith(("running_mean", "running_var", "num_batches_tracked")):
            torch.testing.assert_close(averages[key], value, rtol=1e-3, atol=1e-4)
    rows = [
        pa.concat_tables(pq.read_table(path) for path in parts(tmp_path / name)).to_pydict()
        for name in ("one", "two")
    ]
    for key in ("step", "image", "pseudo_label"):
        assert rows[0][key] == rows[1][key]
    f_i = [[value for value in table["image_feedback"] if value is not None] for table in rows]
    assert len(f_i[0]) == 12
    assert f_i[1] == pytest.approx(f_i[0], rel=1e-2, abs=1e-5)


@pytest.mark.full
def test_a_run_under_torchrun_survives_sigkill_to_the_bit(
    tiny: Tiny, squares_root: Path, tmp_path: Path
) -> None:
    config = config_file(tmp_path, tiny, "training.num_steps=40")
    succeeded(started(arguments(config, tmp_path / "whole", squares_root)))
    run = tmp_path / "killed"
    process = started(arguments(config, run, squares_root))
    while not list(run.glob("checkpoints/step-*1?.pt")):
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    time.sleep(0.5)  # the processes of the group end after their launcher
    succeeded(started(arguments(config, run, squares_root)))
    for name in ("metrics.jsonl", "finished.json"):
        assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_alone_nothing_happens() -> None:
    value = torch.tensor([1.0, 2.0])
    world.average((value,))
    assert value.tolist() == [1, 2]
    assert world.gather(value) is value
    assert (world.size(), world.rank(), world.share(7)) == (1, 0, slice(0, 7))
    assert world.anywhere(True, value.device)


def test_what_cannot_be_shared_is_named(
    tiny: Tiny, squares_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world, "size", lambda: 2)
    with pytest.raises(Face2ExpError, match="batch_size_fr 5 does not part into 2 processes"):
        must_part(tiny())
    with pytest.raises(Face2ExpError, match="method scn compares the images of a whole batch"):
        must_part(tiny("method=scn", "training.batch_size_fr=6"))
    with pytest.raises(Face2ExpError, match="method dmue compares the images of a whole batch"):
        must_part(tiny("method=dmue", "training.batch_size_fr=6"))
    sync = tiny("compute.batch_norm=sync", "training.batch_size_fr=6")
    must_part(sync)
    for change, name in {
        "meta.feedback=jvp": "meta.feedback jvp",
        "meta.feedback_unit=image": "meta.feedback_unit image",
        "meta.reweight=image": "meta.reweight image",
        "telemetry.image_feedback_every=5": "telemetry.image_feedback_every",
    }.items():
        both = tiny("compute.batch_norm=sync", "training.batch_size_fr=6", change)
        named = f"{name} takes a derivative in forward mode, which compute.batch_norm sync has not"
        with pytest.raises(Face2ExpError, match=named):
            must_part(both)
    with pytest.raises(Face2ExpError, match="batch_norm sync needs GPUs"):
        plan_run(sync, run_data(sync, squares_root), torch.device("cpu"))


def test_batch_norm_is_converted_where_there_are_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """The layers alone: no GPU here, so what they compute was not run."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    monkeypatch.setattr(networks.torch.nn.Parameter, "device", torch.device("cuda"), raising=False)
    converted = networks.synchronised(network)
    assert isinstance(converted[1], nn.SyncBatchNorm)  # type: ignore[index]


def test_processes_that_no_torchrun_started_are_told_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    named = pytest.raises(Face2ExpError, match=r"WORLD_SIZE is 2, .* start them with torchrun")
    with named, world.joined("cpu"):
        pass


if __name__ == "__main__":
    main()
