"""What `torch.export` and `torch.compile` make of a labelled step on this machine's CPU.

    python -m benchmarks.exported --json results/benchmarks/exported.json

The step is the warm start's: cross-entropy of a batch, its gradient, SGD. The whole step of
Algorithm 1 is no graph of its own for `torch.export`: it takes gradients in the middle, and what
it exports are the passes. Eager, exported and compiled passes begin with the same weights and
batch, and their losses over three steps have to agree.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.side_by_side import CLOCKS, Variant, measure, ratio
from face2exp_lib.networks import build_network
from face2exp_lib.runtime.provenance import environment
from face2exp_lib.runtime.storage import write_json

WAYS = ("eager", "exported", "compiled")
NETS = {"small": 48, "resnet50": 112}  # and the side of their images in px
BATCH, STEPS, TOLERANCE = 32, 3, 1e-4


class LossOf(nn.Module):
    """The labelled loss as a graph from images and labels to a number."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_fer: Tensor, y_fer: Tensor) -> Tensor:
        return F.cross_entropy(self.network(x_fer), y_fer)


def make(net: str, way: str) -> tuple[Callable[[], object], int]:
    """One way's step, as `side_by_side.Variant` wants it."""
    network = build_network(net, 7, pretrained=False, seed=0).train()  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    x_fer = torch.randn(BATCH, 3, NETS[net], NETS[net], generator=generator)
    y_fer = torch.randint(7, (BATCH,), generator=generator)
    loss_of: nn.Module = LossOf(network)
    if way == "exported":
        loss_of = torch.export.export(loss_of, (x_fer, y_fer)).module()
    parameters = list(loss_of.parameters())
    call = torch.compile(loss_of) if way == "compiled" else loss_of
    optimiser = torch.optim.SGD(parameters, lr=0.01, momentum=0.9)

    def step() -> float:
        optimiser.zero_grad()
        loss = call(x_fer, y_fer)
        loss.backward()
        optimiser.step()
        return float(loss)

    held = (*parameters, *parameters, x_fer)  # SGD keeps a velocity of each
    return step, sum(tensor.nbytes for tensor in held)


def losses(net: str, way: str) -> list[float]:
    """Of the first steps."""
    step, _ = make(net, way)
    return [float(step()) for _ in range(STEPS)]  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--net", choices=NETS, nargs="+", default=["small"])
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a busy machine")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    nets = arguments.net
    ways = {
        net: [Variant(way, make, (net, way), countable=way == "eager") for way in WAYS]
        for net in nets
    }
    found = {
        net: measure(ways[net], arguments.turns, arguments.threads, arguments.clock) for net in nets
    }
    told = {}
    for net in nets:
        first = {way: losses(net, way) for way in WAYS}
        for way in WAYS:
            torch.testing.assert_close(first[way], first["eager"], rtol=TOLERANCE, atol=TOLERANCE)
        told[net] = {
            "side_px": NETS[net],
            "batch_size": BATCH,
            "turns": arguments.turns,
            "threads": arguments.threads,
            "clock": arguments.clock,
            "ways": {
                way: {
                    "seconds": round(sorted(it.seconds)[len(it.seconds) // 2], 4),
                    "time_ratio": [round(x, 3) for x in ratio(it, found[net]["eager"])],
                    "losses": first[way],
                }
                for way, it in found[net].items()
            },
        }
        print(net, told[net]["ways"])
    if arguments.json:
        write_json(arguments.json, told | {"environment": environment()})


if __name__ == "__main__":
    main()
