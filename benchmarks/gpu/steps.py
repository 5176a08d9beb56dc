"""Part 2: time and memory of a step of Meta-Face2Exp on ResNet-50 at 224 px, 32 + 32 images, beside
the order of work of the published code, which takes turns with each variant."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.piece import OutOfTime, Piece, Settings
from benchmarks.side_by_side import MIB, Measurement, Variant, measure, ratio
from benchmarks.step import SETTINGS, make
from face2exp_lib.methods.passes import Compute

NET, TINY_NET = "resnet50_224", "small_tiny"
PAPER_STEPS = 180_000  # on AffectNet (4.2)
TURNS, TINY_TURNS = 30, 2
LEAST_SECONDS, COMPILE_SECONDS = 90, 240  # what a variant is not begun without


@dataclass(frozen=True)
class Way:
    """How a step is computed.

    Attributes:
        order: `public_order` or ours, `meta_step`.
        layout: of images and weights in memory, `contiguous` or `channels_last`.
        precision: `float32`, `tf32` (float32 whose factors are cut to 11 bits in tensor cores),
            `bfloat16` or `float16`.
        compile: by torch.compile.
        graph: the whole step is recorded once and replayed as a CUDA graph.
    """

    order: str = "meta_step"
    layout: str = "contiguous"
    precision: str = "float32"
    compile: bool = False
    graph: bool = False


# By worth: what the paper's code does, what the library does as it comes, what is fastest.
WAYS = {
    "ours": Way(),
    "public_order_tf32": Way("public_order", precision="tf32"),
    "ours_tf32": Way(precision="tf32"),
    "ours_tf32_channels_last": Way(layout="channels_last", precision="tf32"),
    "ours_bfloat16_channels_last": Way(layout="channels_last", precision="bfloat16"),
    "ours_bfloat16_channels_last_graph": Way(
        layout="channels_last", precision="bfloat16", graph=True
    ),
    "ours_bfloat16_channels_last_compile": Way(
        layout="channels_last", precision="bfloat16", compile=True
    ),
    "ours_float16_channels_last": Way(layout="channels_last", precision="float16"),
    "ours_tf32_channels_last_compile": Way(layout="channels_last", precision="tf32", compile=True),
}
REFERENCE = Way("public_order")
IN_A_DRY_RUN = ("ours", "ours_bfloat16_channels_last", "ours_bfloat16_channels_last_graph")


def pieces(settings: Settings) -> list[Piece]:
    """A piece for each way; of a dry run, few."""
    found = []
    for name in IN_A_DRY_RUN if settings.tiny else WAYS:
        least = COMPILE_SECONDS if WAYS[name].compile else LEAST_SECONDS
        found.append(Piece("steps", name, 1 if settings.tiny else least, partial(time_way, name)))
    return found


def time_way(name: str, settings: Settings) -> dict[str, Any]:
    """A way beside the reference, both in processes of their own, step by step in turns."""
    way = WAYS[name]
    if way.graph and settings.device == "cpu":
        return {"skipped": "CUDA graphs need a GPU"}
    net = TINY_NET if settings.tiny else NET
    turns = TINY_TURNS if settings.tiny else TURNS
    variants = [
        Variant(
            which, make_way, (net, it, settings.device), countable=False, device=settings.device
        )
        for which, it in (("reference", REFERENCE), ("way", way))
    ]
    found = measure(variants, turns, 1, "wall", before=_until(settings))
    side, n, m = SETTINGS[net]
    return {
        "net": net,
        "side_px": side,
        "batch_size_fer": n,
        "batch_size_fr": m,
        "turns": len(found["way"].seconds),
        "way": way.__dict__,
        **summary(found["way"], found["reference"], n + m),
    }


def summary(way: Measurement, reference: Measurement, images: int) -> dict[str, Any]:
    """What a way costs, absolutely and as ratios to the reference."""
    middle, low, high = ratio(way, reference)
    seconds = statistics.median(way.seconds)
    return {
        "milliseconds": round(1000 * seconds, 3),
        "reference_milliseconds": round(1000 * statistics.median(reference.seconds), 3),
        "time_ratio": round(middle, 3),
        "time_ratio_quartiles": [round(low, 3), round(high, 3)],
        "images_per_second": round(images / seconds, 1),
        "peak_mib": round(way.allocated / MIB, 1),
        "reference_peak_mib": round(reference.allocated / MIB, 1),
        "memory_ratio": round(way.allocated / reference.allocated, 3),
        "hours_for_180000_steps": round(PAPER_STEPS * seconds / 3600, 2),
    }


def make_way(net: str, way: Way, device: str) -> tuple[Callable[[], object], int]:
    """The step, in the process that takes it."""
    set_tf32(way.precision == "tf32")
    precision: Any = "float32" if way.precision == "tf32" else way.precision
    compute = Compute(precision=precision, compile=way.compile)
    step, held = make(net, way.order, way.layout, {}, compute, device)
    return (recorded(step), held) if way.graph else (step, held)


def set_tf32(allowed: bool) -> None:
    """For convolutions and products; a CPU has none."""
    kind = "tf32" if allowed else "ieee"
    cudnn: Any = torch.backends.cudnn
    matmul: Any = torch.backends.cuda.matmul
    cudnn.conv.fp32_precision = matmul.fp32_precision = kind


def recorded(step: Callable[[], object]) -> Callable[[], object]:
    """A step as a CUDA graph, for its time: what it does is what the recorded step did. The running
    moments of f, which a step binds anew, would not go on in a replay; the paper's f needs none."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # libraries set themselves up, which cannot be recorded
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def _until(settings: Settings) -> Callable[[], None]:
    def check() -> None:
        if settings.left() <= 0:
            raise OutOfTime("no time for all turns")

    return check
