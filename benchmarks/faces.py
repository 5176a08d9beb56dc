"""How fast faces are drawn, and how hard a pack is.

    python benchmarks/faces.py speed --json results/benchmarks/speed.json
    python benchmarks/faces.py difficulty --pack data/rendered

`difficulty` trains one small plain network on the labelled part, on 100 of each of its classes, and
on the unlabelled part with its true labels, and reads all off the VALIDATION part: it is what the
default pack was tuned with. The test part is never opened.
"""

import argparse
import csv
import io
import time
import zipfile
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from face2exp_lib.data.sets.labels import class_names, parse_label
from face2exp_lib.rendering import FaceSpec, render_face
from face2exp_lib.runtime.provenance import environment
from face2exp_lib.runtime.storage import write_json
from face2exp_lib.runtime.workers import run_all

NAMES = class_names(7)

BATCH = 10  # images
BALANCED = 100  # labels a class
WARM_UP = 12  # batches a worker
SPEED_BATCHES = {64: 24, 96: 18, 224: 8}  # pixels -> timed batches a worker


@dataclass(frozen=True)
class Batch:
    """Images of a spec that a worker draws in one go."""

    spec: FaceSpec
    start: int
    stop: int


def draw(batch: Batch) -> None:
    """Draw images and throw them away."""
    for index in range(batch.start, batch.stop):
        render_face(batch.spec, index)


def images_per_second(size: int, workers: int) -> float:
    """Drawn by worker processes once all of them have compiled, read files and filled caches."""
    count = SPEED_BATCHES[size] * workers
    spec = FaceSpec(purpose="speed", count=(count + WARM_UP * workers) * BATCH, size=size)
    # Each worker takes its share of the warm-up before the clock starts, or close to it.
    batches = (Batch(spec, start, start + BATCH) for start in range(0, spec.count, BATCH))
    started = 0.0
    with closing(run_all(draw, batches, workers)) as done:
        for number, _ in enumerate(done, start=1):
            if number == WARM_UP * workers:
                started = time.perf_counter()
    return count * BATCH / (time.perf_counter() - started)


def measure_speed(path: Path | None) -> None:
    """Images a second at several sizes, drawn by one and by two processes."""
    table = []
    print("| pixels | processes | images/s |\n|---|---|---|")
    for size in SPEED_BATCHES:
        for workers in (1, 2):
            rate = images_per_second(size, workers)
            table.append({"size": size, "processes": workers, "images_per_second": round(rate, 2)})
            print(f"| {size} | {workers} | {rate:.1f} |", flush=True)
    if path is not None:
        drawn_by = {name: version(name) for name in ("numba", "llvmlite")}
        spec = asdict(FaceSpec(purpose="speed"))
        for one_of in ("size", "count"):  # as the table says
            del spec[one_of]
        write_json(
            path,
            {"speed": table, "spec": spec, "drawn_by": drawn_by, "environment": environment()},
        )


def read_part(pack: Path, name: str, table: str) -> tuple[Tensor, Tensor]:
    """Images (N, 3, H, W) in [-1, 1] and labels (N,) of a part."""
    with (pack / f"{table}.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["expression"] in NAMES]
    with zipfile.ZipFile(pack / f"{name}.zip") as archive:
        images = [np.asarray(Image.open(io.BytesIO(archive.read(row["image"])))) for row in rows]
    labels = torch.tensor([int(parse_label(row["expression"])) for row in rows])
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 127.5 - 1, labels


def balanced(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The first images of each class, as many of each."""
    rows = torch.cat([(labels == c).nonzero()[:BALANCED, 0] for c in range(len(NAMES))])
    return images[rows], labels[rows]


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    """Convolution, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def small_network() -> nn.Module:
    """Five convolutions, about 170,000 parameters."""
    network = nn.Sequential(
        convolution(3, 16, stride=2), convolution(16, 32), nn.MaxPool2d(2),
        convolution(32, 48), nn.MaxPool2d(2), convolution(48, 96), convolution(96, 128),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(128, len(NAMES)),
    )  # fmt: skip
    return network.to(memory_format=torch.channels_last)


def train(images: Tensor, labels: Tensor, updates: int, seed: int) -> nn.Module:
    """Adam with a cosine schedule on random flips and shifts of up to 4 pixels, batches of 64."""
    torch.manual_seed(seed)
    network = small_network()
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=updates)
    width = images.shape[-1]
    padded = functional.pad(images, (4, 4, 4, 4), mode="reflect")
    for _ in range(updates):
        chosen = torch.randint(len(images), (64,))
        row, column = torch.randint(9, (2,)).tolist()
        batch = padded[chosen, :, row : row + width, column : column + width]
        flipped = torch.rand(len(batch)) < 0.5
        batch = torch.where(flipped[:, None, None, None], batch.flip(3), batch)
        batch = batch.contiguous(memory_format=torch.channels_last)
        loss = functional.cross_entropy(network(batch), labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def per_class_accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """(7,) percent."""
    with torch.no_grad():
        hits = torch.cat([network(part).argmax(1) for part in images.split(256)]) == labels
    return torch.stack([100 * hits[labels == c].float().mean() for c in range(len(NAMES))])


def measure_difficulty(pack: Path, updates: int, seeds: int) -> None:
    """Per-class validation accuracy after each kind of training."""
    validation = read_part(pack, "fer_val", "fer_val")
    everything = read_part(pack, "fer_train", "fer_train")
    trained_on = {
        "fer_train": everything,
        f"fer_train, {BALANCED} a class": balanced(*everything),
        "fr": read_part(pack, "fr", "fr_truth"),
    }
    for name, (images, labels) in trained_on.items():
        results = []
        for seed in range(seeds):
            start = time.perf_counter()
            network = train(images, labels, updates, seed)
            results.append(per_class_accuracy(network, *validation))
            classes = " ".join(f"{n} {a:.0f}" for n, a in zip(NAMES, results[-1], strict=True))
            spent = time.perf_counter() - start
            print(f"{name} seed {seed}: mean {results[-1].mean():.1f} | {classes} | {spent:.0f} s")
        print(f"{name}: mean class accuracy {torch.stack(results).mean():.1f} over {seeds} seeds")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("speed", "difficulty"))
    parser.add_argument("--pack", type=Path, default=Path("data/rendered"))
    parser.add_argument("--updates", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file to write the speed to")
    arguments = parser.parse_args()
    if arguments.what == "speed":
        measure_speed(arguments.json)
    else:
        measure_difficulty(arguments.pack, arguments.updates, arguments.seeds)
