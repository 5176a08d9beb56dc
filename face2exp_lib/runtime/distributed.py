"""The processes of a run: each works on its part of every batch, and gradients are averaged.

torchrun starts them, on CPUs, GPUs and several machines; here they meet. `DistributedDataParallel`
would average `.grad` in the hooks of `backward()`, and here no `.grad` is filled before its
gradient has been in a dot product: f needs the averages of two passes first. `methods.passes`
therefore calls `average` itself.

Without torchrun there is one process, and nothing here does anything.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as processes
from torch import Tensor

from face2exp_lib.runtime.errors import Face2ExpError


def size() -> int:
    """Number of processes, W."""
    return processes.get_world_size() if processes.is_initialized() else 1


def rank() -> int:
    """This process among them, 0 .. W - 1; the first one writes."""
    return processes.get_rank() if processes.is_initialized() else 0


def share(total: int) -> slice:
    """This process's part of the rows of a whole batch; W divides their number."""
    each = total // size()
    return slice(rank() * each, (rank() + 1) * each)


@torch.no_grad()
def average(values: Sequence[Tensor]) -> None:
    """The mean over the processes in place of each tensor, in one exchange for all of them."""
    if size() == 1 or not values:
        return
    flat = torch.cat([value.reshape(-1) for value in values])
    processes.all_reduce(flat)
    parts = flat.div_(size()).split([value.numel() for value in values])
    for value, part in zip(values, parts, strict=True):
        value.copy_(part.view_as(value))


def gather(rows: Tensor) -> Tensor:
    """The rows of all processes, in the order of the whole batch."""
    if size() == 1:
        return rows
    found = [torch.empty_like(rows) for _ in range(size())]
    processes.all_gather(found, rows.contiguous())
    return torch.cat(found)


def anywhere(flag: bool, device: torch.device) -> bool:
    """Whether it is set in any of the processes."""
    if size() == 1:
        return flag
    flags = torch.tensor(int(flag), device=device)
    processes.all_reduce(flags, processes.ReduceOp.MAX)
    return bool(flags)


def wait() -> None:
    """Until all processes are here."""
    if size() > 1:
        processes.barrier()


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Join the processes of torchrun; with none, or if they are joined already, nothing.

    Args:
        device: of the config: `auto`, `cpu` or `cuda`; each process takes the GPU of its local
            rank.

    Raises:
        Face2ExpError: if the variables that torchrun sets are not all there.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or processes.is_initialized():
        yield
        return
    cuda = device in ("auto", "cuda") and torch.cuda.is_available()
    try:
        if cuda:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        processes.init_process_group("nccl" if cuda else "gloo")
    except (KeyError, ValueError, RuntimeError) as error:
        raise Face2ExpError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, and the processes do not find each other: "
            "start them with torchrun, or unset it to train in one"
        ) from error
    try:
        yield
    finally:
        processes.destroy_process_group()
