r"""How many pseudo labels of a comparison's runs were right, at first and at last?

    face2exp compare configs/compare_longer.yaml --out _build/compare_longer
    python benchmarks/pseudo_labels.py _build/compare_longer meta_balanced meta_balanced_zero \
        meta_balanced_without_f meta_100pct meta_100pct_zero meta_100pct_without_f

Of the arms that are named, which must write pseudo labels for faces whose expressions are known:
the embedded ones. Writes `results/<name of the folder>/pseudo_labels.json`: arm -> one record a
seed, of the first and the last of the stretches that `face2exp analyse` cuts a run into.
"""

import argparse
from pathlib import Path

import yaml

from face2exp_lib.config import data_root
from face2exp_lib.runs.analyse import analyse_run
from face2exp_lib.runtime.provenance import environment
from face2exp_lib.runtime.storage import write_json

KEYS = ("first_step", "last_step", "accuracy", "mean_class_accuracy", "agreement", "confidence")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("comparison", type=Path, help="folder of `face2exp compare`")
    parser.add_argument("arms", nargs="+", help="arms of it that write pseudo labels")
    parser.add_argument("--data-root", type=Path)
    arguments = parser.parse_args()
    settings = yaml.safe_load((arguments.comparison / "comparison.yaml").read_text())
    budget, root = settings["budgets"][0], data_root(arguments.data_root)
    found: dict[str, list[dict[str, object]]] = {}
    for arm in arguments.arms:
        for seed in settings["seeds"]:
            run_dir = arguments.comparison / "runs" / f"{arm}-{budget}-seed{seed}"
            over_time = analyse_run(run_dir, root)["over_time"]
            ends = {"first": over_time[0], "last": over_time[-1]}
            kept = {end: {key: w[key] for key in KEYS} for end, w in ends.items()}
            found.setdefault(arm, []).append({"seed": seed, **kept})
    out = Path("results") / arguments.comparison.name / "pseudo_labels.json"
    write_json(out, {"arms": found, "comparison": settings, "environment": environment()})


if __name__ == "__main__":
    main()
