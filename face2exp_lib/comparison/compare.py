"""Run a comparison: search, every arm at every budget with every seed, and what came out.

Each run is a run directory of its own, trained as `face2exp train` does, so a comparison that was
killed goes on where it stopped, and one that is given more seeds or arms makes those alone.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from tqdm import tqdm

from face2exp_lib.comparison.arms import (
    Budget,
    Changes,
    Comparison,
    PlanLength,
    arm_config,
    at_budget,
    plan_length,
)
from face2exp_lib.comparison.slimming import signals, slim
from face2exp_lib.comparison.summary import LENGTHS, compare_runs
from face2exp_lib.config import RunConfig, config_digest, load_config
from face2exp_lib.data.sources import Data
from face2exp_lib.data.splits import RunData, read_run_data
from face2exp_lib.evaluation.metrics import MEASURES, evaluation_path, read_evaluation
from face2exp_lib.runs.evaluate import evaluate_run
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.provenance import environment
from face2exp_lib.runtime.storage import read_json, write_json, write_text
from face2exp_lib.runtime.workers import run_all, usable_cpus
from face2exp_lib.training.loop import train
from face2exp_lib.training.plans import plan_run
from face2exp_lib.training.run_changes import changed_keys, told


@dataclass(frozen=True)
class Run:
    """One run of a comparison.

    Attributes:
        config: its config, at its budget.
        run_dir: its folder.
        data_root: of its data.
        split: evaluated when it is trained; None for a trial of the search.
        threads: of its process.
        slim: keep but what results are made of.
    """

    config: RunConfig
    run_dir: Path
    data_root: Path | None
    split: Literal["val", "test"] | None
    threads: int
    slim: bool = False


def run_comparison(
    comparison: Comparison,
    out: Path | str,
    data_root: Path | str | None,
    workers: int = 1,
    *,
    slim_runs: bool = False,
) -> dict[str, Any]:
    """Train, evaluate and compare; what is there already in `out` is kept.

    Args:
        comparison: arms, budgets, seeds and trials.
        out: gets `runs/`, `comparison.yaml` and `comparison.json`.
        data_root: of the data sets.
        workers: processes, each with a run of its own and its share of the cores.
        slim_runs: keep of each run, once it is done, what results are made of alone, see `slim`.

    Returns:
        The content of `comparison.json`: `comparison`, `search` (arm -> `trials` and `chosen`),
        `runs` (budget -> arm -> one record a seed), `compared` (budget -> `compare_runs`),
        `environment` and `commits`, those that the runs were made with.

    Raises:
        Face2ExpError: if `out` holds runs of other settings under the same names, or a run cannot
            be made.
    """
    out = Path(out)
    data_root = Path(data_root) if data_root else None
    write_text(out / "comparison.yaml", yaml.safe_dump(asdict(comparison), sort_keys=False))
    lengths = Lengths(comparison, data_root)
    chosen, search = dict.fromkeys(comparison.arms, Changes()), {}
    threads = max(1, usable_cpus() // workers)
    if comparison.trials:
        tried = {
            (arm, trial): Run(
                lengths.config(arm, changes, comparison.budgets[0], comparison.search_seed),
                out / "runs" / f"search-{arm}-{trial}",
                data_root,
                None,
                threads,
                slim_runs,
            )
            for arm in comparison.arms
            for trial, changes in comparison.trials.items()
        }
        _make(list(tried.values()), workers, "search")
        for arm in comparison.arms:
            scores = {trial: _validation_score(tried[arm, trial]) for trial in comparison.trials}
            best = max(scores, key=lambda trial: scores[trial])
            chosen[arm] = comparison.trials[best]
            search[arm] = {"trials": scores, "chosen": best}
    runs, folders = {}, dict[str, Path]()
    for seed in comparison.seeds:
        for budget in comparison.budgets:
            for arm in comparison.arms:
                config = lengths.config(arm, chosen[arm], budget, seed)
                # Where budgets or arms come to the same config, one run serves them.
                folder = out / "runs" / f"{arm}-{budget}-seed{seed}"
                run_dir = folders.setdefault(config_digest(config), folder)
                run = Run(config, run_dir, data_root, comparison.split, threads, slim_runs)
                runs[budget, arm, seed] = run
    _make(list({run.run_dir: run for run in runs.values()}.values()), workers, "compare")
    result = {
        "comparison": asdict(comparison),
        "search": search,
        "compared": {
            budget: compare_runs(
                {
                    arm: [runs[budget, arm, seed].run_dir for seed in comparison.seeds]
                    for arm in comparison.arms
                },
                comparison.reference_arm,
                comparison.split,
            )
            for budget in comparison.budgets
        },
        "runs": {
            budget: {
                arm: [_record(runs[budget, arm, seed]) for seed in comparison.seeds]
                for arm in comparison.arms
            }
            for budget in comparison.budgets
        },
        "environment": environment(),
        "commits": sorted(
            {
                str(read_json(run.run_dir / "environment.json", "git_commit")["git_commit"])
                for run in runs.values()
            }
        ),
    }
    write_json(out / "comparison.json", result)
    return result


class Lengths:
    """Configs at their budgets. A plan is made once for each arm and trial: it reads the data."""

    def __init__(self, comparison: Comparison, data_root: Path | None) -> None:
        self.comparison = comparison
        self.data_root = data_root
        self.known: dict[str, PlanLength] = {}
        self.read: tuple[tuple[Data, int], RunData] | None = None
        given = self._own(comparison.budget_arm, {})
        self.given = self._of(given).whole
        self.validations = -(-self.given.steps // given.training.eval_every_steps)

    def config(self, arm: str, trial: Changes, budget: Budget, seed: int) -> RunConfig:
        """A run's config.

        Raises:
            Face2ExpError: if the arm does not fit into the budget.
        """
        config = arm_config(self.comparison, arm, trial, seed)
        if budget == "own":
            return config
        length = self._of(self._own(arm, trial))
        try:
            return at_budget(config, length, budget, self.given, self.validations)
        except Face2ExpError as error:
            raise Face2ExpError(f"arm {arm}: {error}") from error

    def _own(self, arm: str, trial: Changes) -> RunConfig:
        return arm_config(self.comparison, arm, trial, self.comparison.seeds[0])

    def _of(self, config: RunConfig) -> PlanLength:
        key = config_digest(config)
        if key not in self.known:
            if self.read is None or self.read[0] != (config.data, config.seed):
                drawn = config.data, config.seed
                self.read = drawn, read_run_data(*drawn, self.data_root)
            self.known[key] = plan_length(plan_run(config, self.read[1], torch.device("cpu")))
        return self.known[key]


def _make(runs: list[Run], workers: int, title: str) -> None:
    """Train and evaluate what is not yet."""
    for run in runs:
        _must_hold_no_other(run)
    missing = [run for run in runs if not _made(run)]
    for run in runs:
        if run.slim and run not in missing:
            slim(run.run_dir)
    bar = tqdm(total=len(runs), initial=len(runs) - len(missing), desc=title, unit="run")
    with bar, _quiet_workers(workers):
        for _ in run_all(train_and_evaluate, iter(missing), workers):
            bar.update()


def train_and_evaluate(run: Run) -> None:
    """One run, in a process of its own or in this one."""
    before = torch.get_num_threads()
    torch.set_num_threads(run.threads)
    try:
        train(run.config, run.run_dir, run.data_root, resume=True)
        if run.split:
            evaluate_run(run.run_dir, run.split, run.data_root)
        if run.slim:
            slim(run.run_dir)
    finally:
        torch.set_num_threads(before)


def _must_hold_no_other(run: Run) -> None:
    """`train` would offer to go on with what has changed; here a run has one config throughout."""
    path = run.run_dir / "config.yaml"
    if path.exists() and (keys := changed_keys(load_config(path), run.config, run.data_root)):
        raise Face2ExpError(
            f"{run.run_dir}: holds a run of another config ({told(keys)}): delete it, or choose "
            "another --out"
        )


def _made(run: Run) -> bool:
    done = f"evaluation-{run.split}.json" if run.split else "finished.json"
    if not (run.run_dir / done).exists():
        return False
    # An older release wrote fewer keys: those it lacked are at their defaults.
    path = run.run_dir / "config.yaml"
    return path.is_file() and load_config(path) == run.config


@contextmanager
def _quiet_workers(workers: int) -> Iterator[None]:
    """Without bars of their own, which several processes would write over each other."""
    before = os.environ.get("TQDM_DISABLE")
    if workers > 1:
        os.environ["TQDM_DISABLE"] = "1"
    try:
        yield
    finally:
        os.environ.pop("TQDM_DISABLE", None)
        if before is not None:
            os.environ["TQDM_DISABLE"] = before


def _validation_score(run: Run) -> float:
    finished = read_json(run.run_dir / "finished.json", "best_validation_mean_class_accuracy")
    return float(finished["best_validation_mean_class_accuracy"])


def _record(run: Run) -> dict[str, Any]:
    evaluation = read_evaluation(evaluation_path(run.run_dir, str(run.split)))
    return {
        "seed": run.config.seed,
        "config_digest": config_digest(run.config),
        **{key: evaluation[key] for key in (*LENGTHS, "checkpoint_step", *MEASURES)},
        "best_validation_mean_class_accuracy": _validation_score(run),
        "per_class_accuracy": evaluation["per_class_accuracy"],
        "signals": signals(run.run_dir),
    }
