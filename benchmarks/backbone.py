"""Which small network learns most from faces in a given time on one CPU core?

    python benchmarks/backbone.py run --seconds 180 --json _build/backbone.json
    python benchmarks/backbone.py table _build/backbone.json

Each candidate learns from labels alone, as `face2exp train` would have it (views, cosine,
momentum), for as many updates as the time allows: all are timed first, in turns, and each is then
trained for its number, so that a slower one takes fewer. Two kinds of labels: `all` of the
long-tailed training part, and a balanced draw of 100 a class. What counts is the class mean on the
VALIDATION part; the test part is never opened. `--only` takes candidates by name; results that are
in the file are kept and not repeated.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from face2exp_lib.config import RunConfig, load_config
from face2exp_lib.data.batches import DecodedFaces
from face2exp_lib.data.splits import read_labelled_data
from face2exp_lib.evaluation.inference import evaluate_network
from face2exp_lib.methods.supervised import SUPERVISED
from face2exp_lib.networks import FaceNetwork
from face2exp_lib.runtime.provenance import environment
from face2exp_lib.runtime.storage import read_json, write_json
from face2exp_lib.training.phases import Phase, Rate

WEIGHT_DECAY = 5e-4
TURNS, A_TURN = 8, 5  # and one turn that warms up; updates in a turn


def normed(inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Module:
    """Convolution and batch norm."""
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


def active(inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Module:
    """The same and ReLU."""
    return nn.Sequential(normed(inputs, outputs, size, stride, groups), nn.ReLU())


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut (He et al. 2016); `averaged` halves the shortcut by
    an average in place of a stride (ResNet-D, He et al. 2019)."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, averaged: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(active(inputs, outputs, 3, stride), normed(outputs, outputs))
        self.shortcut: nn.Module = nn.Identity()
        if averaged and stride > 1:
            self.shortcut = nn.Sequential(nn.AvgPool2d(stride), normed(inputs, outputs, 1))
        elif stride > 1 or inputs != outputs:
            self.shortcut = normed(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class Inverted(nn.Module):
    """An inverted residual with a depthwise convolution (MobileNetV2, Sandler et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int = 4) -> None:
        super().__init__()
        wide = inputs * expansion
        self.body = nn.Sequential(
            active(inputs, wide, 1), active(wide, wide, 3, stride, wide), normed(wide, outputs, 1)
        )
        self.same = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.same else y


class Candidate(FaceNetwork):
    """A stem and blocks, the mean over places, and a last layer."""

    def __init__(self, stem: nn.Module, blocks: list[nn.Module], width: int) -> None:
        super().__init__()
        self.stem, self.blocks = stem, nn.Sequential(*blocks)
        self.fc = nn.Linear(width, 7)

    def features(self, x: Tensor) -> Tensor:
        maps: Tensor = self.blocks(self.stem(x))
        return maps.mean((2, 3))


def residual_net(
    stem: nn.Module, widths: list[int], strides: list[int], *, averaged: bool = False
) -> Candidate:
    """Blocks from one width to the next; the stem has the first."""
    pairs = zip(widths, widths[1:], strides, strict=False)
    blocks: list[nn.Module] = [Residual(a, b, s, averaged=averaged) for a, b, s in pairs]
    return Candidate(stem, blocks, widths[-1])


def plain_net() -> Candidate:
    """Convolutions and maxima, nothing beside them."""
    pool = nn.MaxPool2d(2)
    blocks = [active(32, 64), pool, active(64, 128), pool, active(128, 256), active(256, 256)]
    return Candidate(active(3, 32, 3, 2), blocks, 256)


def depthwise_net() -> Candidate:
    """MobileNetV2's blocks."""
    blocks = [
        Inverted(24, 24, 1), Inverted(24, 40, 2), Inverted(40, 40, 1),
        Inverted(40, 80, 2), Inverted(80, 80, 1), active(80, 256, 1),
    ]  # fmt: skip
    return Candidate(active(3, 24, 3, 2), blocks, 256)


def deep_stem(width: int) -> nn.Module:
    """Three 3 x 3 convolutions, the first of stride 2 (ResNet-C, He et al. 2019)."""
    return nn.Sequential(active(3, width // 2, 3, 2), active(width // 2, width))


def folded_stem(width: int) -> nn.Module:
    """Four pixels become one of twelve channels."""
    return nn.Sequential(nn.PixelUnshuffle(2), active(12, width))


# name -> network, and (stored size, view size) in px
CANDIDATES: dict[str, tuple[Callable[[], Candidate], tuple[int, int]]] = {
    "full-resolution stem, 16..128": (
        lambda: residual_net(active(3, 16), [16, 16, 32, 64, 128], [2, 2, 2, 2]),
        (64, 48),
    ),
    "stride-2 stem, 16..128": (
        lambda: residual_net(active(3, 16, 3, 2), [16, 32, 64, 128], [2, 2, 2]),
        (64, 48),
    ),
    "stride-2 stem, 8..64": (
        lambda: residual_net(active(3, 8, 3, 2), [8, 16, 32, 64], [2, 2, 2]),
        (64, 48),
    ),
    "stride-2 stem, 16..128, 40 of 48 px": (
        lambda: residual_net(active(3, 16, 3, 2), [16, 32, 64, 128], [2, 2, 2]),
        (48, 40),
    ),
    "folded stem, 16..128": (
        lambda: residual_net(folded_stem(16), [16, 32, 64, 128], [2, 2, 2]),
        (64, 48),
    ),
    "ResNet-D, 16..128": (
        lambda: residual_net(deep_stem(16), [16, 32, 64, 128], [2, 2, 2], averaged=True),
        (64, 48),
    ),
    "stride-2 stem, 16..256": (
        lambda: residual_net(active(3, 16, 3, 2), [16, 32, 64, 128, 256], [2, 2, 2, 1]),
        (64, 48),
    ),
    "stride-2 stem, 24..192": (
        lambda: residual_net(active(3, 24, 3, 2), [24, 48, 96, 192], [2, 2, 2]),
        (64, 48),
    ),
    "stride-2 stem, 32..256": (
        lambda: residual_net(active(3, 32, 3, 2), [32, 64, 128, 256], [2, 2, 2]),
        (64, 48),
    ),
    "stride-2 stem, 32..256, a block more": (
        lambda: residual_net(active(3, 32, 3, 2), [32, 32, 64, 128, 256], [1, 2, 2, 2]),
        (64, 48),
    ),
    "5 x 5 stem, 32..256": (
        lambda: residual_net(active(3, 32, 5, 2), [32, 64, 128, 256], [2, 2, 2]),
        (64, 48),
    ),
    "folded stem, 32..256": (
        lambda: residual_net(folded_stem(32), [32, 64, 128, 256], [2, 2, 2]),
        (64, 48),
    ),
    "ResNet-D, 32..256": (
        lambda: residual_net(deep_stem(32), [32, 64, 128, 256], [2, 2, 2], averaged=True),
        (64, 48),
    ),
    "4 x 4 patches, 64..256": (
        lambda: residual_net(active(3, 64, 4, 4), [64, 64, 128, 256], [1, 2, 2]),
        (64, 48),
    ),
    "depthwise, 24..256": (depthwise_net, (64, 48)),
    "plain, 32..256": (plain_net, (64, 48)),
    "stride-2 stem, 32..256, 40 of 48 px": (
        lambda: residual_net(active(3, 32, 3, 2), [32, 64, 128, 256], [2, 2, 2]),
        (48, 40),
    ),
    "stride-2 stem, 32..256, 56 of 64 px": (
        lambda: residual_net(active(3, 32, 3, 2), [32, 64, 128, 256], [2, 2, 2]),
        (64, 56),
    ),
}
LABELS = {
    "all": ["data.balanced=false"],
    "7 x 100": ["data.balanced=true", "data.per_class=100"],
}


def build(name: str) -> Candidate:
    """A candidate with fresh weights."""
    make, _ = CANDIDATES[name]
    torch.manual_seed(0)
    return make().to(memory_format=torch.channels_last)


def settings(name: str, labels: str, seed: int) -> RunConfig:
    """The config of a candidate's training."""
    _, (stored, view) = CANDIDATES[name]
    changes = [f"data.stored_size={stored}", f"data.view_size={view}", f"seed={seed}"]
    changes += [
        "method=supervised",
        f"training.weight_decay={WEIGHT_DECAY}",
        "training.num_steps=1",
    ]
    return load_config("rendered_cpu.yaml", changes + LABELS[labels])


def phase(name: str, config: RunConfig, faces: DecodedFaces, steps: int, eta: float) -> Phase:
    """Supervised updates of a fresh network."""
    return Phase(
        name="supervised",
        num_steps=steps,
        config=config,
        networks={"base": build(name)},
        rates={"base": Rate(eta, 0.9)},
        take_step=SUPERVISED.step,
        options=None,
        passes=SUPERVISED.cost(None, config.training.batch_size_fer, 0),
        labelled=faces,
    )


def milliseconds_an_image(names: list[str]) -> dict[str, float]:
    """Of an update, views included: CPU time, median over turns in which all candidates take part,
    so that whatever else the machine does slows all of them alike."""
    phases = {}
    for name in names:
        config = settings(name, "all", 0)
        data = read_labelled_data(config.data, config.seed, None)
        few = data.labelled.subset(np.arange(256))
        faces = DecodedFaces(few, config.data.stored_size, in_memory=True)
        phases[name] = phase(name, config, faces, (TURNS + 1) * A_TURN, 0.01).steps(0)
    spent: dict[str, list[float]] = {name: [] for name in names}
    for _ in tqdm(range(TURNS + 1), desc="timing", unit="turn"):
        for name, steps in phases.items():
            begun = time.process_time()
            for _ in range(A_TURN):
                next(steps)
            spent[name].append(time.process_time() - begun)
    images = A_TURN * settings(names[0], "all", 0).training.batch_size_fer
    return {name: 1000 * median(turns[1:]) / images for name, turns in spent.items()}


def measure(
    name: str, labels: str, milliseconds: float, seconds: float, eta: float, seed: int
) -> dict[str, Any]:
    """Train a candidate for the time, and look at the validation part.

    Args:
        milliseconds: an image takes.
    """
    config = settings(name, labels, seed)
    data = read_labelled_data(config.data, config.seed, None)
    faces, validation = (
        DecodedFaces(part, config.data.stored_size, in_memory=True)
        for part in (data.labelled, data.validation)
    )
    steps = round(1000 * seconds / milliseconds / config.training.batch_size_fer)
    trained = phase(name, config, faces, steps, eta)
    begun = time.process_time()
    for _ in tqdm(trained.steps(0), total=steps, desc=f"{name}, {labels}", mininterval=5):
        pass
    spent = time.process_time() - begun
    network = trained.networks["base"]
    found = evaluate_network(
        network, validation, view_size=config.data.view_size, num_classes=7, workers=0
    )
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        CANDIDATES[name][0]()(torch.empty(1, 3, config.data.view_size, config.data.view_size))
    return {
        "candidate": name,
        "labels": labels,
        "eta": eta,
        "seed": seed,
        "seconds": seconds,
        "updates": steps,
        "milliseconds_an_image": milliseconds,
        "cpu_seconds": spent,
        "weights": sum(p.numel() for p in network.parameters()),
        "forward_mflop": counter.get_total_flops() / 1e6,
        "class_mean": found["mean_class_accuracy"],
        "class_std": found["std_class_accuracy"],
        "per_class": found["per_class_accuracy"],
    }


def show(results: list[dict[str, Any]]) -> None:
    """A row a candidate and kind of labels, the best first."""
    print("| candidate | labels | ms / image | updates | weights | class mean | std |")
    print("|---|---|---|---|---|---|---|")
    for found in sorted(results, key=lambda r: (r["labels"], -r["class_mean"])):
        print(
            f"| {found['candidate']} | {found['labels']} | {found['milliseconds_an_image']:.2f} "
            f"| {found['updates']:,} | {found['weights'] / 1e6:.2f} M "
            f"| {found['class_mean']:.1f} | {found['class_std']:.1f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("path", nargs="?", type=Path, help="results to show")
    parser.add_argument("--json", type=Path, help="where results go, and are found again")
    parser.add_argument("--seconds", type=float, default=180.0, help="of training")
    parser.add_argument("--eta", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--labels", nargs="+", choices=tuple(LABELS), default=list(LABELS))
    parser.add_argument("--only", nargs="+", choices=tuple(CANDIDATES), default=list(CANDIDATES))
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "table":
        if given.path is None:
            parser.error("name the results to show")
        show(read_json(given.path)["results"])
        return
    if given.json is None:
        parser.error("give a file for the results with --json")
    stored = read_json(given.json) if given.json.exists() else {"results": [], "cost": {}}
    results, cost = stored["results"], stored["cost"]
    if untimed := [name for name in given.only if name not in cost]:
        cost |= milliseconds_an_image(untimed)
    keys = ("candidate", "labels", "eta", "seed", "seconds")
    done = {tuple(r[key] for key in keys) for r in results}
    for labels in given.labels:
        for name in given.only:
            if (name, labels, given.eta, given.seed, given.seconds) not in done:
                results.append(
                    measure(name, labels, cost[name], given.seconds, given.eta, given.seed)
                )
                stored = {"results": results, "cost": cost, "environment": environment()}
                write_json(given.json, stored)
    show(results)


if __name__ == "__main__":
    main()
