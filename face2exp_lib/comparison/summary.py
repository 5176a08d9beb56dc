"""Methods against each other: seeds summed up, paired tests, and what these can and cannot show.

Two chances are tested apart. Seeds: would the method win again if it were trained again? The
paired tests over seeds answer it; the same seed draws the same labels and begins at the same
weights for every method, so differences within a seed vary less than the methods themselves.
Images: do two networks at hand differ on more images than chance explains? McNemar's test answers
it, for one seed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest, nct, permutation_test, t, ttest_rel, wilcoxon

from face2exp_lib.evaluation.metrics import LEVEL, MEASURES, evaluation_path, read_evaluation
from face2exp_lib.evaluation.predictions import predictions_path, read_predictions
from face2exp_lib.runtime.errors import Face2ExpError

LENGTHS = ("num_steps", "image_passes", "image_backwards")  # of a run, whatever its seed
ROUNDING = 1e-9
MOST_EXACT_SEEDS = 16  # 2^16 sign flips are counted out


def over_seeds(values: Sequence[float], level: float = LEVEL) -> dict[str, Any]:
    """Mean, sample standard deviation and Student's t interval of the mean over seeds.

    With one seed there is neither deviation nor interval: both are None.
    """
    found = np.asarray(values, dtype=float)
    n, mean = len(found), float(found.mean())
    if n < 2:
        return {"num_seeds": n, "mean": mean, "std": None, "interval": None}
    std = float(found.std(ddof=1))
    half = float(t.ppf((1 + level) / 2, n - 1)) * std / n**0.5
    return {"num_seeds": n, "mean": mean, "std": std, "interval": [mean - half, mean + half]}


def paired_over_seeds(values: Sequence[float], reference: Sequence[float]) -> dict[str, Any]:
    """Is the difference `values` - `reference` within seeds more than the seeds' chance?

    Args:
        values, reference: of the same seeds in the same order.

    Returns:
        `over_seeds` of the differences and two-sided p values: `p_t` (paired t test), `p_wilcoxon`
        (signed ranks) and `p_permutation` (flipped signs, counted out). The last two assume no
        shape but cannot go below `smallest_p`, 2 / 2^n: with 5 seeds or fewer never below 0.05.
        None where a test does not exist.
    """
    a, b = np.asarray(values, dtype=float), np.asarray(reference, dtype=float)
    n = len(a)
    result = {**over_seeds(a - b), "p_t": None, "p_wilcoxon": None, "p_permutation": None}
    result["smallest_p"] = 2.0 ** (1 - n)
    if n < 2:
        return result
    if (a == b).all():
        return {**result, "p_t": 1.0, "p_wilcoxon": 1.0, "p_permutation": 1.0}
    if (a - b).std() > ROUNDING * np.abs(a - b).max():  # else t would divide by rounding errors
        result["p_t"] = float(ttest_rel(a, b).pvalue)
    result["p_wilcoxon"] = float(wilcoxon(a, b).pvalue)
    if n <= MOST_EXACT_SEEDS:
        flipped = permutation_test(
            (a, b),
            lambda x, y, axis: (x - y).mean(axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=np.inf,
        )
        result["p_permutation"] = float(flipped.pvalue)
    return result


def power_over_seeds(difference: float, std: float, num_seeds: int, level: float = LEVEL) -> float:
    """How often a paired t test finds a true difference, for differences that are normal.

    Args:
        difference: the true mean difference within a seed.
        std: standard deviation of the differences over seeds, above 0.
        num_seeds: at least 2.
        level: of the interval that must not hold 0; 1 - level is how often the test cries wolf.

    Returns:
        A share of 0 to 1 (the noncentral t distribution, both sides).
    """
    freedom = num_seeds - 1
    bound = float(t.ppf((1 + level) / 2, freedom))
    shift = difference / std * num_seeds**0.5
    return float(nct.sf(bound, freedom, shift) + nct.cdf(-bound, freedom, shift))


def mcnemar(
    labels: np.ndarray, predicted: np.ndarray, predicted_reference: np.ndarray
) -> dict[str, Any]:
    """McNemar's exact test (1947) of two networks on the same images.

    Only images that one of them gets right and the other wrong tell them apart; were the networks
    alike, either would win half of those. It takes images as independent and weighs every image
    alike, so it speaks of the overall accuracy.

    Returns:
        `only_right`: images that only the network has right, `only_reference_right`, `p` two-sided.
    """
    right, reference_right = predicted == labels, predicted_reference == labels
    won, lost = int((right & ~reference_right).sum()), int((~right & reference_right).sum())
    p = float(binomtest(won, won + lost, 0.5).pvalue) if won + lost else 1.0
    return {"only_right": won, "only_reference_right": lost, "p": p}


def holm(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Holm's p values (1979): each adjusted for having asked as many questions."""
    asked = sorted((p, name) for name, p in p_values.items() if p is not None)
    adjusted: dict[str, float | None] = dict.fromkeys(p_values)
    highest = 0.0
    for rank, (p, name) in enumerate(asked):
        highest = max(highest, min(1.0, p * (len(asked) - rank)))
        adjusted[name] = highest
    return adjusted


def compare_runs(
    arms: Mapping[str, Sequence[Path | str]],
    reference: str,
    split: str = "test",
) -> dict[str, Any]:
    """Compare methods by the evaluations of their runs; no part is read and no network loaded.

    Args:
        arms: name -> run directories, one a seed, each evaluated on `split`.
        reference: the arm that the others are held against.
        split: `val`, `test` or, of another set, `on-NAME` as its evaluations are called.

    Returns:
        `split`, `reference`, `missing_classes`, those that some evaluation saw no image of, and
        `arms`: name -> `seeds`, each measure `over_seeds`, per-class
        accuracy as means, `label_budget`, `LENGTHS`, and against the reference on the shared
        seeds `paired` (measure -> `paired_over_seeds` and `p_holm`, the t test's p adjusted for the
        number of arms) and `mcnemar` (seed -> test; only where both runs kept their predictions).

    Raises:
        Face2ExpError: if a run is not evaluated, an arm has a seed twice, the arms share no seed,
            or two runs were evaluated on other images.
    """
    if reference not in arms:
        raise Face2ExpError(f"no method '{reference}' to compare with: take {', '.join(arms)}")
    evaluated = {name: _by_seed(name, runs, split) for name, runs in arms.items()}
    base = evaluated[reference]
    compared = {}
    for name, runs in evaluated.items():
        results = [result for _, result in runs.values()]
        compared[name] = {
            "seeds": list(runs),
            **{m: over_seeds([result[m] for result in results]) for m in MEASURES},
            "per_class_accuracy": _per_class(results),
            "label_budget": results[0]["label_budget"],
            **{key: results[0].get(key) for key in LENGTHS},
        }
        if name != reference:
            compared[name] |= _against(name, runs, reference, base, split)
    for measure in MEASURES:
        found = {n: arm["paired"][measure] for n, arm in compared.items() if "paired" in arm}
        for name, p in holm({n: paired["p_t"] for n, paired in found.items()}).items():
            found[name]["p_holm"] = p
    missing = {
        label: None
        for runs in evaluated.values()
        for _, result in runs.values()
        for label in result["missing_classes"]
    }
    return {
        "split": split,
        "reference": reference,
        "missing_classes": list(missing),
        "arms": compared,
    }


Evaluated = dict[int, tuple[Path, dict[str, Any]]]


def _by_seed(name: str, runs: Sequence[Path | str], split: str) -> Evaluated:
    found: Evaluated = {}
    if not runs:
        raise Face2ExpError(f"{name}: no run to compare: give at least one")
    for run in map(Path, runs):
        path = evaluation_path(run, split)
        if not path.exists():
            option = "--on SOURCE" if split.startswith("on-") else f"--split {split}"
            raise Face2ExpError(
                f"{run}: not evaluated: run `face2exp evaluate {run} {option}` first"
            )
        result = read_evaluation(path)
        seed = result.get("seed", 0)
        if seed in found:
            raise Face2ExpError(
                f"{name}: {found[seed][0]} and {run} are both of seed {seed}: give one of them"
            )
        found[seed] = run, result
    return dict(sorted(found.items()))


def _against(
    name: str, runs: Evaluated, reference: str, base: Evaluated, split: str
) -> dict[str, Any]:
    shared = [seed for seed in runs if seed in base]
    if not shared:
        raise Face2ExpError(
            f"{name} and {reference} share no seed, so nothing is paired: train both on the same"
        )
    tests = {}
    for seed in shared:
        (run, result), (base_run, base_result) = runs[seed], base[seed]
        if not _same_images(result, base_result):
            raise Face2ExpError(
                f"{run} and {base_run} were evaluated on other images: compare runs of one part"
            )
        paths = [predictions_path(folder, split) for folder in (run, base_run)]
        if all(path.exists() for path in paths):
            own, other = (read_predictions(path) for path in paths)
            if own.images != other.images or not np.array_equal(own.labels, other.labels):
                raise Face2ExpError(
                    f"{paths[0]} and {paths[1]} list other images: one of them is another run's"
                )
            tests[seed] = mcnemar(own.labels, own.predicted, other.predicted)
    paired = {
        measure: paired_over_seeds(
            [runs[seed][1][measure] for seed in shared], [base[seed][1][measure] for seed in shared]
        )
        for measure in MEASURES
    }
    return {"paired": paired, "mcnemar": tests}


def _per_class(results: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Mean accuracy of each class over the evaluations that saw images of it."""
    return {
        label: float(np.mean(found))
        for label in results[0]["class_names"]
        if (
            found := [
                result["per_class_accuracy"][label]
                for result in results
                if label in result["per_class_accuracy"]
            ]
        )
    }


def _same_images(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return bool(one["list_digest"] == other["list_digest"])
