"""Are FER and FR features nearer to each other after Meta-Face2Exp than after supervised learning?

    face2exp compare configs/compare_label_sizes.yaml --out _build/compare_label_sizes
    python benchmarks/alignment.py _build/compare_label_sizes supervised_100pct meta_100pct --plane

That is the claim of the paper's Fig. 4, of networks with the same labels and the first budget. For
every seed: how well FER (validation) and FR faces are told apart by the features of both networks,
and how far apart they lie as distributions. Writes `results/biases/alignment.json`, and with
--plane where the first seed's features lie on one: of rendered faces alone, since features of real
people are not passed on.
"""

import argparse
import json
from pathlib import Path

import yaml

from face2exp_lib.comparison.summary import paired_over_seeds
from face2exp_lib.config import data_root
from face2exp_lib.figures.features import plane
from face2exp_lib.runs.mismatch import measure_mismatch
from face2exp_lib.runtime.provenance import environment
from face2exp_lib.runtime.storage import write_json, write_text

OUT = Path("results/biases")
MEASURES = {
    "auc": ("classifier_two_sample_test", "auc"),
    "mmd2": ("maximum_mean_discrepancy", "mmd2"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("comparison", type=Path, help="folder of `face2exp compare`")
    parser.add_argument("supervised", help="its arm")
    parser.add_argument("meta", help="its arm")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--plane", action="store_true", help="write alignment-planes.json, too")
    arguments = parser.parse_args()
    settings = yaml.safe_load((arguments.comparison / "comparison.yaml").read_text())
    budget, root = settings["budgets"][0], data_root(arguments.data_root)
    values: dict[str, dict[str, list[float]]] = {
        name: {"supervised": [], "meta": []} for name in MEASURES
    }
    for seed in settings["seeds"]:
        runs = [
            arguments.comparison / "runs" / f"{arm}-{budget}-seed{seed}"
            for arm in (arguments.supervised, arguments.meta)
        ]
        measured, seen = measure_mismatch(runs[1], root, before=runs[0])
        for name, (test, key) in MEASURES.items():
            for arm, when in (("supervised", "before"), ("meta", "after")):
                values[name][arm].append(measured[when][test][key])
        if arguments.plane and seed == settings["seeds"][0]:
            planes = dict(zip(("supervised", "meta"), map(plane, seen), strict=True))
            write_text(OUT / "alignment-planes.json", json.dumps(planes))
    write_json(
        OUT / "alignment.json",
        {
            "arms": {"supervised": arguments.supervised, "meta": arguments.meta},
            "comparison": settings,
            "values": values,
            "meta_less_supervised": {
                name: paired_over_seeds(of["meta"], of["supervised"]) for name, of in values.items()
            },
            "environment": environment(),
        },
    )


if __name__ == "__main__":
    main()
