"""Steps of Meta-Face2Exp on one device; run by torchrun, a process of the tests of several.

torchrun --nproc-per-node 2 tests/device_process.py DEVICE BACKEND BATCH_NORM OUT
"""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as processes
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from face2exp_lib.methods.feedback import FeedbackHistory
from face2exp_lib.methods.meta_face2exp import MetaOptions, meta_step
from face2exp_lib.methods.method import StepBatch
from face2exp_lib.methods.passes import PLAIN
from face2exp_lib.networks import build_network, synchronised
from face2exp_lib.runtime import distributed as world

STEPS, ETA = 2, 0.05
SIDE, FER, FR = 32, 8, 12  # px, images


def whole_batch(step: int, device: torch.device, dtype: torch.dtype) -> StepBatch:
    """The same on all devices and in all processes."""
    generator = torch.Generator().manual_seed(step)

    def images(number: int) -> Tensor:
        drawn = torch.randn(number, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)
        return drawn.to(device, dtype)

    labels = torch.randint(7, (FER,), generator=generator).to(device)
    return StepBatch(images(FER) + 1, labels, images(FR) * 2, images(FR) - 1)


def networks(device: torch.device, dtype: torch.dtype, batch_norm: str) -> list[nn.Module]:
    """B and A with batch norm that is `local`, `sync`, or none of it: what ties no images."""
    made = []
    for seed in (0, 1):
        network: nn.Module = build_network("small", 7, pretrained=False, seed=seed)
        if batch_norm == "none":
            network = without_batch_norm(network)
        network = network.to(device, dtype).train()
        made.append(synchronised(network) if batch_norm == "sync" else network)
    return made


def without_batch_norm(network: nn.Module) -> nn.Module:
    """The same convolutions, each image by itself."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.GroupNorm(1, child.num_features))
    return network


def steps(
    device: torch.device, dtype: torch.dtype, batch_norm: str
) -> tuple[list[Tensor], list[float]]:
    """This process's share of a few steps: weights on the CPU in the end, and f of each."""
    base, adaptation = networks(device, dtype, batch_norm)
    sgd_b, sgd_a = (torch.optim.SGD(net.parameters(), lr=ETA) for net in (base, adaptation))
    history, found = FeedbackHistory(), []
    for step in range(STEPS):
        whole = whole_batch(step, device, dtype)
        fer, fr = world.share(FER), world.share(FR)
        batch = StepBatch(whole.x_fer[fer], whole.y_fer[fer], whole.x_fr[fr], whole.x_fr_aug[fr])
        told = meta_step(base, adaptation, sgd_b, sgd_a, batch, MetaOptions(), history, PLAIN)
        found.append(told["feedback"].item())
    weights = [p.detach().cpu() for net in (base, adaptation) for p in net.parameters()]
    return weights, found


def main() -> None:
    name, backend, batch_norm, out = sys.argv[1:]
    device = torch.device(name)
    if name == "cuda":  # gloo's processes may share the first one, NCCL's may not
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) if backend == "nccl" else 0)
    processes.init_process_group(backend)
    try:
        number, rank = processes.get_world_size(), processes.get_rank()
        # The exchanges that a run makes, one by one: with a single process `world` makes none.
        one = torch.ones(3, device=device)
        processes.all_reduce(one)
        rows = [torch.empty(1, device=device) for _ in range(number)]
        processes.all_gather(rows, torch.full((1,), float(rank), device=device))
        processes.barrier()
        assert one.tolist() == [number] * 3
        assert torch.cat(rows).tolist() == list(range(number))
        weights, found = steps(device, torch.float64, batch_norm)
        if rank == 0:
            torch.save({"weights": weights, "f": found}, out)
    finally:
        processes.destroy_process_group()


if __name__ == "__main__":
    main()
