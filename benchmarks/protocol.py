"""Compare arms fairly: choose on validation, the same number of trials each, then several seeds.

    python benchmarks/protocol.py benchmarks/protocols/fer2013_lfw_cpu.yaml --data-root DIR

Run directories go to `_build/protocol/<name>/`; a killed protocol goes on where it stopped. What is
worth keeping goes to `results/<name>/`: `search.json` with every trial's validation score, one file
a final run with its config and environment, and `summary.json`.
"""

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from face2exp_lib.config import data_root, load_config
from face2exp_lib.runs.evaluate import evaluate_run
from face2exp_lib.runtime.storage import read_json, write_json
from face2exp_lib.training.loop import train

MEASURES = ("overall_accuracy", "mean_class_accuracy", "std_class_accuracy")


def run(config: Path, settings: dict[str, Any], run_dir: Path, root: Path | None) -> None:
    """Train one run, or go on with it."""
    changes = [f"{key}={value}" for key, value in settings.items()]
    train(load_config(config, changes), run_dir, root, resume=True)


def search(protocol: dict[str, Any], work: Path, root: Path | None) -> dict[str, Any]:
    """Every arm's trials with their validation score, and the best of them."""
    found = {}
    for arm, settings in protocol["arms"].items():
        if len(settings["trials"]) == 1:  # nothing to choose
            found[arm] = {"trials": [], "best": settings["trials"][0]}
            continue
        trials = []
        for index, trial in enumerate(settings["trials"]):
            run_dir = work / f"search-{arm}-{index}"
            chosen = {**settings["set"], **trial, "seed": protocol["search_seed"]}
            run(Path(protocol["config"]), chosen, run_dir, root)
            score = read_json(run_dir / "finished.json")["best_validation_mean_class_accuracy"]
            trials.append({"set": trial, "validation_mean_class_accuracy": score})
        best = max(trials, key=lambda trial: trial["validation_mean_class_accuracy"])
        found[arm] = {"trials": trials, "best": best["set"]}
    return {"seed": protocol["search_seed"], "arms": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("protocol", type=Path)
    parser.add_argument("--data-root", type=Path)
    arguments = parser.parse_args()
    root = data_root(arguments.data_root)
    protocol = yaml.safe_load(arguments.protocol.read_text())
    name = arguments.protocol.stem
    work, results = Path("_build/protocol") / name, Path("results") / name

    found = search(protocol, work, root)
    write_json(results / "search.json", found)
    summary = {}
    for arm, settings in protocol["arms"].items():
        measured = []
        for seed in protocol["seeds"]:
            run_dir = work / f"{arm}-seed{seed}"
            chosen = {**settings["set"], **found["arms"][arm]["best"], "seed": seed}
            run(Path(protocol["config"]), chosen, run_dir, root)
            evaluation, _ = evaluate_run(run_dir, "test", root)
            measured.append(evaluation)
            if settings.get("keep_metrics") and seed == protocol["seeds"][0]:
                kept = results / f"{arm}-seed{seed}-metrics.jsonl"
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(run_dir / "metrics.jsonl", kept)
            write_json(
                results / f"{arm}-seed{seed}.json",
                {
                    "evaluation": evaluation,
                    "config": yaml.safe_load((run_dir / "config.yaml").read_text()),
                    "environment": read_json(run_dir / "environment.json"),
                },
            )
        summary[arm] = {
            "seeds": protocol["seeds"],
            "image_passes": measured[0]["image_passes"],
            "label_budget": measured[0]["label_budget"],
            **{
                measure: {
                    "mean": float(np.mean([m[measure] for m in measured])),
                    "std_over_seeds": float(np.std([m[measure] for m in measured], ddof=1)),
                }
                for measure in MEASURES
            },
        }
        write_json(results / "summary.json", summary)


if __name__ == "__main__":
    main()
