"""Time variants of a training step side by side, each in a process of its own.

A machine that others use as well is fast now and slow then. So the variants take turns, one step
each, and medians of many turns are compared: what is slow then is slow for all. Processes keep the
variants apart: each has its own allocator and environment, and its peak memory is its own. While
one works, the others wait.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's own notices
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

MATRIX = 2048  # side of the square matrices whose product stands for the machine's peak
PRODUCTS = 4  # products in a row, for one measurement
# Steps that are not counted: compilation, caches, first allocations, a GPU's clock.
WARM_UP = {"cpu": 2, "cuda": 10}
MIB = 2**20
# The time a process computed, not the time that passed, where others compute as well. With more
# than one thread it also counts what threads spend on waiting for one another.
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Variant:
    """A way of computing a step.

    Attributes:
        name: in the table.
        make: called in the variant's process; returns the step, and the bytes that its networks,
            optimisers and batch take up.
        arguments: of `make`.
        environment: variables that its process is started with.
        device: that it computes on; on `cuda` a turn ends when the GPU is done, and `allocated` is
            what torch's allocator held at most.
        countable: whether its floating-point operations can be counted: not if it is compiled.
    """

    name: str
    make: Callable[..., tuple[Callable[[], object], int]]
    arguments: tuple[Any, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    countable: bool = True
    device: str = "cpu"


@dataclass(frozen=True)
class Measurement:
    """Of one variant.

    Attributes:
        seconds: of each counted step.
        flops: floating-point operations of convolutions and products in a step; None if compiled.
        allocated: bytes of tensors at the peak of a step, networks and batch among them.
        resident: peak resident bytes of the process beyond what it had after importing torch; None
            where the system does not tell.
    """

    seconds: list[float]
    flops: int | None
    allocated: int
    resident: int | None


def measure(
    variants: Sequence[Variant],
    turns: int,
    threads: int,
    clock: str,
    *,
    before: Callable[[], None] | None = None,
) -> dict[str, Measurement]:
    """Start a process for each variant, let them take turns, and gather what they found.

    `clock` is a key of CLOCKS. `before` is called before each turn, and while a variant is made
    ready once a second; what it raises ends all.

    Nothing may be computed with torch before: a fork cannot take over the threads.
    """
    with ExitStack() as stack:
        pipes = {}
        for variant in variants:
            # Forked, a process need not import torch once more; but then its environment is ours.
            # CUDA survives no fork.
            plain = variant.device == "cpu" and not variant.environment
            forked = sys.platform == "linux" and plain
            context = get_context("fork" if forked else "spawn")
            ours, theirs = context.Pipe()
            process = context.Process(  # type: ignore[attr-defined]
                target=_work, args=(theirs, variant, threads, CLOCKS[clock]), daemon=True
            )
            usual = dict(os.environ)
            os.environ.update(variant.environment)
            process.start()
            theirs.close()  # or the end of the process would not be seen
            os.environ.clear()
            os.environ.update(usual)
            stack.callback(process.kill)  # if it does not end by itself
            stack.callback(process.join, 10)
            stack.callback(_send_end, ours)
            pipes[variant.name] = ours
            while before and not ours.poll(1):
                before()
            _answer(ours, variant.name)  # ready: built and warmed up, alone
        seconds: dict[str, list[float]] = {name: [] for name in pipes}
        for _ in tqdm(range(turns), desc="turns"):
            if before:
                before()
            for name, pipe in pipes.items():
                pipe.send("step")
                seconds[name].append(_answer(pipe, name))
        found = {}
        for name, pipe in pipes.items():
            pipe.send("count")
            found[name] = Measurement(seconds[name], *_answer(pipe, name))
    return found


def multiply(dtype: torch.dtype) -> tuple[Callable[[], object], int]:
    """Products of square matrices: the machine's own peak."""
    a = torch.randn(MATRIX, MATRIX).to(dtype)

    def step() -> None:
        for _ in range(PRODUCTS):
            a @ a

    return step, a.nbytes


def operations_per_second(measurement: Measurement) -> float:
    """The best of a `multiply` variant's turns."""
    return PRODUCTS * 2 * MATRIX**3 / min(measurement.seconds)


def ratio(variant: Measurement, reference: Measurement) -> tuple[float, float, float]:
    """Median over the turns of the ratio of their times, and its quartiles."""
    pairs = zip(variant.seconds, reference.seconds, strict=True)
    low, middle, high = statistics.quantiles([one / other for one, other in pairs], n=4)
    return middle, low, high


def _send_end(pipe: Connection) -> None:
    with suppress(OSError):  # it ended before
        pipe.send(None)


def _answer(pipe: Connection, name: str) -> Any:
    try:
        answer = pipe.recv()
    except EOFError as error:
        raise RuntimeError(f"variant {name} was killed: most often for want of memory") from error
    if isinstance(answer, Exception):
        raise RuntimeError(f"variant {name} failed: {answer!r}") from answer
    return answer


def _work(pipe: Connection, variant: Variant, threads: int, clock: Callable[[], float]) -> None:
    try:
        torch.set_num_threads(threads)
        on_gpu = variant.device == "cuda"
        wait = torch.cuda.synchronize if on_gpu else _nothing_to_wait_for
        at_start = _resident("VmRSS")
        step, held = variant.make(*variant.arguments)
        for _ in range(WARM_UP[variant.device]):
            step()
        wait()
        pipe.send("ready")
        while (asked := pipe.recv()) is not None:
            if asked == "step":
                started = clock()
                step()
                wait()
                pipe.send(clock() - started)
            else:
                resident = _resident("VmHWM")
                beyond = resident - at_start if resident and at_start else None
                peak = torch.cuda.max_memory_allocated() if on_gpu else held + _peak(step)
                pipe.send((_flops(step) if variant.countable else None, peak, beyond))
    except Exception as error:
        pipe.send(RuntimeError(repr(error)))


def _nothing_to_wait_for() -> None:
    """A CPU is done when the call returns."""


def _flops(step: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def _peak(step: Callable[[], object]) -> int:
    """The most bytes that a step holds at a time beyond what was held before it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    results = profiler.profiler
    assert results is not None
    assert results.kineto_results is not None
    changes = sorted(
        (event.start_ns(), event.nbytes())
        for event in results.kineto_results.events()
        if event.name() == "[memory]"
    )
    total = most = 0
    for _, change in changes:
        total += change
        most = max(most, total)
    return most


def _resident(which: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(which))
