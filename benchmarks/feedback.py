"""What each way to the feedback f costs, beside the step without feedback.

    python -m benchmarks.feedback --json results/benchmarks/feedback.json

The product's own step in its default layout; only `meta.feedback` differs, and in the last rows
what else is made of the labelled gradient: f_i for each image, or weights for A's. `none` neither
measures f nor takes the gradient that L_f scales; `w_f = 0` would still do both.
"""

import argparse
from pathlib import Path

from benchmarks.side_by_side import CLOCKS, MIB, Variant, measure, ratio
from benchmarks.step import SETTINGS, make
from face2exp_lib.methods.passes import PLAIN
from face2exp_lib.runtime.provenance import environment
from face2exp_lib.runtime.storage import write_json

REFERENCE = "none"
IMAGE = {"feedback_unit": "image", "feedback_norm": "standard"}
WAYS: dict[str, dict[str, str]] = {
    **{way: {"feedback": way} for way in (REFERENCE, "exact", "jvp", "finite_difference")},
    "trapezoid": {"feedback": "trapezoid"},
    "image": IMAGE,
    "image+trapezoid": IMAGE | {"feedback": "trapezoid"},
    "reweight": {"reweight": "image"},
    "reweight+trapezoid": {"reweight": "image", "feedback": "trapezoid"},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--net", choices=SETTINGS, nargs="+", default=list(SETTINGS)[:3])
    parser.add_argument("--turns", type=int, default=15, help="steps of each way")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a busy machine")
    parser.add_argument("--json", type=Path, help="file to write the table to")
    arguments = parser.parse_args()
    tables = {}
    for net in arguments.net:
        ways = [
            Variant(way, make, (net, "meta_step", "channels_last", options, PLAIN))
            for way, options in WAYS.items()
        ]
        found = measure(ways, arguments.turns, arguments.threads, arguments.clock)
        rows = []
        print(f"\n{net}\n| feedback | s | time | FLOPs | allocated |\n|---|---|---|---|---|")
        for way in WAYS:
            it, reference = found[way], found[REFERENCE]
            middle, low, high = ratio(it, reference)
            assert it.flops is not None
            assert reference.flops is not None
            line = {
                "feedback": way,
                "seconds": round(sorted(it.seconds)[len(it.seconds) // 2], 4),
                "time_ratio": round(middle, 3),
                "time_ratio_quartiles": [round(low, 3), round(high, 3)],
                "flops_ratio": round(it.flops / reference.flops, 3),
                "allocated_mib": round(it.allocated / MIB, 1),
                "allocated_ratio": round(it.allocated / reference.allocated, 3),
            }
            rows.append(line)
            print(
                f"| {way} | {line['seconds']:.3f} | {middle:.2f} | {line['flops_ratio']:.2f} "
                f"| {line['allocated_ratio']:.2f} |"
            )
        side, n, m = SETTINGS[net]
        tables[net] = {
            "side_px": side,
            "batch_size_fer": n,
            "batch_size_fr": m,
            "turns": arguments.turns,
            "clock": arguments.clock,
            "ways": rows,
        }
    if arguments.json:
        provenance = environment()
        provenance["machine"]["threads"] = arguments.threads
        write_json(arguments.json, {"reference": REFERENCE, **tables, "environment": provenance})


if __name__ == "__main__":
    main()
