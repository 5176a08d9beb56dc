"""What a step of Meta-Face2Exp costs, beside the order of work of the published code.

    python -m benchmarks.step --net small --turns 5 --only stored_gradient
    python -m benchmarks.step --net resnet50_batch_8 small --json step_batch_8.json
    python -m benchmarks.step --net resnet50 --turns 7 --json results/benchmarks/step.json --only \
        stored_gradient public_order+channels_last channels_last channels_last+bfloat16

The published code is re-told here from what it computes (its source is under no licence): one pass
of B over labelled images and both views of the unlabelled ones, whose graph waits while A learns
from labelled and augmented images and is measured once more on the labelled ones. Networks, batch,
optimisers and threads are the same for all. A compiled ResNet-50 takes minutes to warm up.
Every variant keeps what it allocated, for ResNet-50 about 5 GB: take a few at a time with --only.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD

from benchmarks.side_by_side import (
    CLOCKS,
    MIB,
    Measurement,
    Variant,
    measure,
    multiply,
    operations_per_second,
    ratio,
)
from face2exp_lib.methods.feedback import FeedbackHistory, feedback_coefficient
from face2exp_lib.methods.meta_face2exp import MetaOptions, meta_step
from face2exp_lib.methods.method import StepBatch
from face2exp_lib.methods.passes import PLAIN, Compute, compile_networks, descend, gradients
from face2exp_lib.networks import build_network, frozen_running_stats
from face2exp_lib.runtime.provenance import environment
from face2exp_lib.runtime.storage import write_json

# net -> side of the images in px, labelled and unlabelled images in a batch (the paper: 32)
SETTINGS = {
    "resnet50": (112, 32, 32),
    "resnet50_batch_8": (112, 8, 8),
    "small": (64, 32, 32),
    "resnet50_224": (224, 32, 32),  # the paper's
    "small_tiny": (32, 4, 4),  # for tests
}
ETA, MOMENTUM = 1e-3, 0.9
REFERENCE = "public_order"
Step = Callable[[nn.Module, nn.Module, SGD, SGD, StepBatch], object]


def public_order(
    base: nn.Module, adaptation: nn.Module, optimiser_b: SGD, optimiser_a: SGD, batch: StepBatch
) -> None:
    """One B graph over everything, waiting for A; f from two losses."""
    n, m = len(batch.x_fer), len(batch.x_fr)
    every = base(torch.cat([batch.x_fer, batch.x_fr, batch.x_fr_aug]))
    fer, fr, fr_aug = every.split([n, m, m])
    a_fer, a_fr_aug = adaptation(torch.cat([batch.x_fer, batch.x_fr_aug])).split([n, m])
    y_hat = fr_aug.detach().argmax(1)
    F.cross_entropy(a_fr_aug, y_hat).backward()
    optimiser_a.step()
    with torch.no_grad():
        before = F.cross_entropy(a_fer, batch.y_fer)
        after = F.cross_entropy(adaptation(batch.x_fer), batch.y_fer)
    loss_c = F.cross_entropy(fr_aug, fr.detach().softmax(1))
    loss_f = (before - after) * F.cross_entropy(fr_aug, y_hat)
    (F.cross_entropy(fer, batch.y_fer) + loss_c + loss_f).backward()
    optimiser_b.step()
    optimiser_a.zero_grad()
    optimiser_b.zero_grad()


def algorithm_1(
    base: nn.Module, adaptation: nn.Module, optimiser_b: SGD, optimiser_a: SGD, batch: StepBatch
) -> None:
    """Algorithm 1 line by line: B labels in a pass without graph and learns in another, at last."""
    params_b, params_a = list(base.parameters()), list(adaptation.parameters())
    with torch.no_grad(), frozen_running_stats(base):
        y_hat = base(batch.x_fr).argmax(1)
    grad_u = gradients(F.cross_entropy(adaptation(batch.x_fr), y_hat), params_a)
    descend(optimiser_a, params_a, grad_u)
    with frozen_running_stats(adaptation):
        after = F.cross_entropy(adaptation(batch.x_fer), batch.y_fer)
    feedback = feedback_coefficient(gradients(after, params_a), grad_u, ETA)
    loss_s = F.cross_entropy(base(batch.x_fer), batch.y_fer)
    with frozen_running_stats(base):
        fr = base(batch.x_fr)
        loss_c = F.cross_entropy(base(batch.x_fr_aug), fr.detach().softmax(1))
    loss_f = feedback * F.cross_entropy(fr, y_hat)
    descend(optimiser_b, params_b, gradients(loss_s + loss_c + loss_f, params_b))


def make(
    net: str,
    order: str,
    layout: str,
    options: dict[str, Any],
    compute: Compute,
    device: str = "cpu",
) -> tuple[Callable[[], object], int]:
    """Networks, optimisers and a batch of noise, and the step over them."""
    side, n, m = SETTINGS[net]
    memory_format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    base, adaptation = (
        build_network(net.partition("_")[0], 7, pretrained=False, seed=seed)  # type: ignore[arg-type]
        .to(device)
        .to(memory_format=memory_format)  # type: ignore[call-overload]
        .train()
        for seed in (0, 1)
    )
    compile_networks([base, adaptation], compute)
    optimisers = [SGD(net.parameters(), lr=ETA, momentum=MOMENTUM) for net in (base, adaptation)]
    generator = torch.Generator().manual_seed(0)

    def images(number: int) -> Tensor:
        drawn = torch.randn(number, 3, side, side, generator=generator)
        return drawn.to(device).contiguous(memory_format=memory_format)

    y_fer = torch.randint(7, (n,), generator=generator).to(device)
    batch = StepBatch(images(n), y_fer, images(m), images(m))
    history = FeedbackHistory()

    def step() -> None:
        if order == "public_order":
            public_order(base, adaptation, *optimisers, batch)
        elif order == "algorithm_1":
            algorithm_1(base, adaptation, *optimisers, batch)
        else:
            meta_step(
                base, adaptation, *optimisers, batch, MetaOptions(**options), history, compute
            )

    step()  # momentum has its buffers now
    tensors = [*base.state_dict().values(), *adaptation.state_dict().values()]
    tensors += [s["momentum_buffer"] for o in optimisers for s in o.state.values()]
    tensors += [batch.x_fer, batch.x_fr, batch.x_fr_aug]
    return step, sum(tensor.nbytes for tensor in tensors)


def variants(net: str) -> list[Variant]:
    """All of them; the reference first."""

    def variant(
        name: str,
        order: str = "meta_step",
        *,
        layout: str = "channels_last",
        options: dict[str, Any] | None = None,
        compute: Compute = PLAIN,
        **others: Any,
    ) -> Variant:
        return Variant(name, make, (net, order, layout, options or {}, compute), **others)

    bfloat16 = Compute(precision="bfloat16")
    # Keep freed memory instead of giving it back to the system page by page, in large pages.
    pages = {
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1073741824:"
        "glibc.malloc.trim_threshold=17179869184"
    }
    return [
        variant("public_order", "public_order", layout="contiguous"),
        variant("algorithm_1", "algorithm_1", layout="contiguous"),
        variant("stored_gradient", layout="contiguous"),
        variant(
            "finite_difference", layout="contiguous", options={"feedback": "finite_difference"}
        ),
        variant("jvp", layout="contiguous", options={"feedback": "jvp"}),
        variant("public_order+channels_last", "public_order"),
        variant("channels_last"),
        variant("channels_last+pages", environment=pages),
        variant(
            "channels_last+micro_batches", compute=Compute(micro_batch_size=SETTINGS[net][1] // 2)
        ),
        variant("channels_last+bfloat16", compute=bfloat16),
        variant("channels_last+bfloat16+pages", compute=bfloat16, environment=pages),
        variant("channels_last+compile", compute=Compute(compile=True), countable=False),
        variant(
            "channels_last+bfloat16+compile",
            compute=Compute(precision="bfloat16", compile=True),
            countable=False,
        ),
    ]


def row(name: str, found: dict[str, Measurement], peaks: dict[str, float]) -> dict[str, Any]:
    """A variant's line of the table; ratios are to the reference."""
    it, reference = found[name], found[REFERENCE]
    middle, low, high = ratio(it, reference)
    seconds = sorted(it.seconds)[len(it.seconds) // 2]
    # A compiled step multiplies what the plain one does.
    flops = it.flops or found[name.replace("+compile", "")].flops
    assert flops is not None
    assert reference.flops is not None
    peak = peaks["bfloat16" if "bfloat16" in name else "float32"]
    return {
        "variant": name,
        "seconds": round(seconds, 4),
        "time_ratio": round(middle, 3),
        "time_ratio_quartiles": [round(low, 3), round(high, 3)],
        "flops_ratio": round(flops / reference.flops, 3),
        "share_of_matmul_peak": round(flops / seconds / peak, 3),
        "allocated_mib": round(it.allocated / MIB, 1),
        "allocated_ratio": round(it.allocated / reference.allocated, 3),
        "resident_mib": it.resident and round(it.resident / MIB, 1),
        "resident_ratio": it.resident
        and reference.resident
        and round(it.resident / reference.resident, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usual = list(SETTINGS)[:3]
    parser.add_argument("--net", choices=SETTINGS, nargs="+", default=usual)
    parser.add_argument("--turns", type=int, default=15, help="steps of each variant")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a busy machine")
    parser.add_argument("--only", nargs="+", help="variants beside the reference")
    parser.add_argument("--json", type=Path, help="file to write the table to")
    arguments = parser.parse_args()
    tables = {}
    for net in arguments.net:
        chosen = [
            variant
            for variant in variants(net)
            if not arguments.only or variant.name in {*arguments.only, REFERENCE}
        ]
        peaks = [
            Variant(f"matmul {dtype}", multiply, (getattr(torch, dtype),), countable=False)
            for dtype in ("float32", "bfloat16")
        ]
        found = measure([*chosen, *peaks], arguments.turns, arguments.threads, arguments.clock)
        best = {p.name.split()[1]: operations_per_second(found[p.name]) for p in peaks}
        rows = [row(variant.name, found, best) for variant in chosen]
        side, n, m = SETTINGS[net]
        tables[net] = {
            "side_px": side,
            "batch_size_fer": n,
            "batch_size_fr": m,
            "matmul_gflops_per_second": {k: round(v / 1e9, 1) for k, v in best.items()},
            "turns": arguments.turns,
            "clock": arguments.clock,
            "variants": rows,
        }
        speeds = tables[net]["matmul_gflops_per_second"]
        print(f"\n{net}, {side} px, {n} + {m} images, matrix products {speeds} GFLOP/s")
        print("| variant | s | time | FLOPs | of peak | allocated | resident |\n|" + "---|" * 7)
        for line in rows:
            print(
                f"| {line['variant']} | {line['seconds']:.3f} | {line['time_ratio']:.2f} "
                f"| {line['flops_ratio']:.2f} | {line['share_of_matmul_peak']:.0%} "
                f"| {line['allocated_ratio']:.2f} | {line['resident_ratio']} |"
            )
    if arguments.json:
        provenance = environment()
        provenance["machine"]["threads"] = arguments.threads
        write_json(arguments.json, {"reference": REFERENCE, **tables, "environment": provenance})


if __name__ == "__main__":
    main()
