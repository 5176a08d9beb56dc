"""One thread against all of them, on a machine that is quiet and on one that computes already.

    python -m benchmarks.threads --json results/benchmarks/threads.json
    python -m benchmarks.threads --net small --turns 5

The step of Meta-Face2Exp, timed with nothing beside it, beside one process that computes without
a pause, and beside another training on one thread. What takes turns are steps with one thread and
steps with all, so that the machine's own ups and downs are the same for both. Run it on a quiet
machine, or the first of the three is none. The default of `compute.threads` was chosen by it.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD

from benchmarks.side_by_side import Measurement, Variant, measure, ratio
from face2exp_lib.methods.feedback import FeedbackHistory
from face2exp_lib.methods.meta_face2exp import MetaOptions, meta_step
from face2exp_lib.methods.method import StepBatch
from face2exp_lib.networks import Backbone, build_network
from face2exp_lib.runtime.provenance import environment
from face2exp_lib.runtime.storage import write_json
from face2exp_lib.runtime.workers import usable_cpus

# net -> side of the images in px, labelled and unlabelled images in a batch
SETTINGS: dict[Backbone, tuple[int, int, int]] = {"small": (48, 32, 32), "resnet18": (96, 16, 16)}
ALONE = "nothing"


def make(net: Backbone, threads: int) -> tuple[Callable[[], object], int]:
    """Networks, optimisers and a batch of noise, and the step over them."""
    torch.set_num_threads(threads)
    side, n, m = SETTINGS[net]
    networks = [build_network(net, 7, pretrained=False, seed=seed).train() for seed in (0, 1)]
    optimisers = [SGD(network.parameters(), lr=1e-3, momentum=0.9) for network in networks]
    generator = torch.Generator().manual_seed(0)

    def images(number: int) -> Tensor:
        return torch.randn(number, 3, side, side, generator=generator)

    y_fer = torch.randint(7, (n,), generator=generator)
    batch = StepBatch(images(n), y_fer, images(m), images(m))
    history = FeedbackHistory()
    return lambda: meta_step(*networks, *optimisers, batch, MetaOptions(), history), 0


def compute_for_ever(net: Backbone) -> None:
    """A process that is never idle."""
    number = 0
    while True:
        number += 1


def train_for_ever(net: Backbone) -> None:
    """Another training of the same network."""
    step, _ = make(net, 1)
    while True:
        step()


COMPANY: dict[str, Callable[[Backbone], None] | None] = {
    ALONE: None,
    "a busy process": compute_for_ever,
    "a training on one thread": train_for_ever,
}


@contextmanager
def beside(company: str, net: Backbone) -> Iterator[None]:
    """Something else computes meanwhile."""
    run = COMPANY[company]
    if run is None:
        yield
        return
    process = get_context("spawn").Process(target=run, args=(net,), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def row(company: str, threads: int, it: Measurement, one: Measurement) -> dict[str, Any]:
    """A line of the table; the ratio is to one thread in the same company."""
    middle, low, high = ratio(it, one)
    return {
        "beside": company,
        "threads": threads,
        "seconds": round(statistics.median(it.seconds), 4),
        "time_ratio": round(middle, 3),
        "time_ratio_quartiles": [round(low, 3), round(high, 3)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--net", choices=SETTINGS, nargs="+", default=list(SETTINGS))
    parser.add_argument("--turns", type=int, default=15, help="steps of each")
    parser.add_argument("--threads", type=int, default=max(2, usable_cpus()), help="what `all` are")
    parser.add_argument("--json", type=Path, help="file to write the table to")
    arguments = parser.parse_args()
    numbers, tables = (1, arguments.threads), {}
    for net in arguments.net:
        rows = []
        for company in COMPANY:
            variants = [
                Variant(f"{number} threads", make, (net, number), countable=False)
                for number in numbers
            ]
            with beside(company, net):
                found = measure(variants, arguments.turns, 1, "wall")
            one = found[variants[0].name]
            rows += [
                row(company, number, found[variant.name], one)
                for number, variant in zip(numbers, variants, strict=True)
            ]
        side, n, m = SETTINGS[net]
        tables[net] = {
            "side_px": side,
            "batch_size_fer": n,
            "batch_size_fr": m,
            "turns": arguments.turns,
            "rows": rows,
        }
        print(f"\n{net}, {side} px, {n} + {m} images")
        print("| beside | threads | s | time to one thread's |\n|" + "---|" * 4)
        for line in rows:
            print(
                f"| {line['beside']} | {line['threads']} | {line['seconds']:.3f} "
                f"| {line['time_ratio']:.2f} |"
            )
    if arguments.json:
        provenance = environment()
        provenance["machine"]["threads"] = arguments.threads
        write_json(arguments.json, {**tables, "environment": provenance})


if __name__ == "__main__":
    main()
