"""What `face2exp data inspect`, `data audit`, `analyse`, `compare` and `evaluate` print."""

from collections import Counter
from typing import Any

import numpy as np

from face2exp_lib.comparison.summary import LENGTHS
from face2exp_lib.evaluation.metrics import MEASURES
from face2exp_lib.preparation.audit import Audit
from face2exp_lib.preparation.audited_sets import AuditedSet
from face2exp_lib.preparation.fingerprints import BITS
from face2exp_lib.preparation.inspection import Inspection

NO_P = "\N{EN DASH}"  # of a test that does not exist


def print_part(part: Inspection) -> None:
    """One part of what `inspect` found."""
    faces, published = part.faces, part.published
    print(f"{faces.name}: format {part.format}, {len(faces)} images")
    if part.part:
        print(f"  part {part.part}")
    if part.counts:
        print(f"  labels looked up as codes: {part.faces.codes}")
        if published:
            print(f"  {'class':10} {'here':>8}   {published.title}, published")
        for name, count in part.counts.items():
            print(f"  {name:10} {count:8}", end="")
            print(f"   {published.counts.get(name, 0):8}" if published else "")
    elif faces.identities is not None:
        print(f"  identities {len(np.unique(faces.identities)):8}, no expression labels")
    for warning in part.faces.notes:
        print(f"  warning: {warning}")
    for reason, images in part.left_out().items():
        print(f"  left out   {len(images):8}: {reason}, e.g. {', '.join(images[:3])}")
    print(f"  unreadable {len(part.unreadable):8}")
    for message in part.unreadable.values():
        print(f"    {message}")


def print_audit(sets: list[AuditedSet], result: Audit, distance: int) -> None:
    """The sets, the counts of copies and what training should drop."""
    for audited in sets:
        use = "evaluation" if audited.evaluation else "training"
        print(f"{audited.faces.name}: {len(audited.faces)} images, for {use}")
    print(f"  {'exact copies':32} {result.exact_groups:8} groups (the same bytes)")
    print(f"  {'redundant copies':32} {result.redundant:8} images")
    print(f"  {'copies with conflicting labels':32} {result.conflicting:8} groups")
    print(f"  {'copies in pixels':32} {result.pixel_groups:8} groups, exact ones included")
    print(f"  {'near copies':32} {result.near_pairs:8} pairs ({distance} of {BITS} bits or less)")
    print("  images that have a copy in     exact   pixels     near")
    for (name, other), counts in result.between.items():
        if any(counts.values()):
            print(f"    {name} in {other}")
            print(" " * 27 + "".join(f"{count:9}" for count in counts.values()))
    dropped = Counter(one.set_name for one in result.found if one.drop)
    for name, count in dropped.items():
        print(f"  to drop from {name}: {count}")
    print(f"  unreadable {len(result.unreadable):8}")
    for message in result.unreadable:
        print(f"    {message}")


def print_landmarks(name: str, counts: dict[str, int]) -> None:
    """How many faces were found, by `landmark_table.count_states`."""
    remarks = {
        "undetected": "canonical points",
        "implausible": "points that cannot be a face's: canonical points",
        "several faces": "the largest, most central one is kept",
    }
    total = sum(counts.values()) - counts["several faces"]
    print(f"{name}: {total} images")
    for state, count in counts.items():
        remark = f"   {remarks[state]}" if count and state in remarks else ""
        print(f"  {state:13} {count:8}   {100 * count / total:5.1f} %{remark}")


def analysis_lines(result: dict[str, Any]) -> list[str]:
    """An analysis in a few lines."""
    windows = result["over_time"]
    lines = [f"{result['num_rows']:,} pseudo labels of {result['num_images']:,} images"]
    for key, title in (
        ("accuracy", "right"),
        ("accuracy_agreed", "right where both networks agree"),
        ("agreement", "the learner agrees"),
        ("confidence", "confidence"),
    ):
        first, last = windows[0].get(key), windows[-1].get(key)
        if first is not None and last is not None:
            lines.append(f"  {title:32} {100 * first:5.1f} % at first, {100 * last:5.1f} % at last")
    if result["truth_known"] is None:
        lines.append("  whether they are right is not known: --truth FILE.csv tells")
    f = result.get("image_feedback")
    if f:
        lines.append(
            f"f_i of {f['num_images']:,} images in {f['num_steps']} steps; their means are f to "
            f"{f['largest_error']:.1g}"
        )
        if "auc" in f:
            low, high = f["difference_interval"]
            lines.append(
                f"  right labels {f['right']:+.2g}, wrong {f['wrong']:+.2g}, difference "
                f"{f['difference']:+.2g} [{low:+.2g}, {high:+.2g}]; a right one is above a wrong "
                f"one in {100 * f['auc']:.1f} % of pairs (50 is chance)"
            )
    return lines


def evaluation_lines(result: dict[str, Any]) -> list[str]:
    """An evaluation with its intervals, and what one should know of the set."""
    split, intervals = result["split"], result["intervals"]
    what = result.get("set", f"{split} part")
    flipped = ", mirror images averaged" if result["flip"] else ""
    lines = [f"{result['method']}, {what}, {result['num_images']} images{flipped}"]
    for key in MEASURES:
        lines.append(f"  {key:20} {result[key]:6.2f} %  {_range(intervals['bootstrap'][key])}")
    for name in result["class_names"]:
        if name in result["missing_classes"]:
            lines.append(f"    {name:18} no image: not measured, and in no mean")
        else:
            value, interval = (found["per_class_accuracy"][name] for found in (result, intervals))
            lines.append(f"    {name:18} {value:6.2f} %  {_range(interval)}")
    level = f"{100 * intervals['level']:.0f} %"
    by_person = " (of a class: images)" if intervals["bootstrap"]["unit"] == "identity" else ""
    unit = "persons" if by_person else "images"
    lines.append(f"  in brackets: {level} intervals for other {unit}{by_person}, the same seed")
    budget = result["label_budget"]
    lines.append(
        f"  labels used: {budget['total']} ({budget['train']} train, {budget['validation']} val)"
    )
    lines += [
        f"  left out {count}: {reason}" for reason, count in result.get("left_out", {}).items()
    ]
    if result.get("is_own_test_part"):
        lines.append("  warning: these are the run's own test images, and this counts as a reading")
    if copies := result.get("copies_of_training_images"):
        lines.append(
            f"  warning: the run learnt from exact copies of {copies} of these images: not unseen"
        )
    if result.get("test_readings", 1) > 1:
        what = "test part" if split == "test" else "set"
        lines.append(
            f"  the {what} was read {result['test_readings']} times: not an untouched test"
        )
    return lines


def comparison_table(comparison: dict[str, Any], measure: str = "mean_class_accuracy") -> str:
    """A comparison as a Markdown table: all measures, and the paired tests of one of them.

    Below it stands what the table cannot show: that one seed gives no p value, and which classes
    are in no mean.
    """
    reference = comparison["reference"]
    head = ["method", "seeds", *(name.replace("_", " ") + ", %" for name in MEASURES)]
    head += [
        "steps",
        "images forward",
        "backward",
        "labels",
        f"{measure.replace('_', ' ')} minus {reference}",
    ]
    head += ["p (t; Holm)", "p (Wilcoxon)", "p (sign flips)"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, arm in comparison["arms"].items():
        cells = [name, str(len(arm["seeds"])), *(_cell(arm[m]) for m in MEASURES)]
        cells += ["" if arm[key] is None else f"{arm[key]:,}" for key in LENGTHS]
        cells.append(f"{arm['label_budget']['total']:,}")
        if "paired" in arm:
            paired = arm["paired"][measure]
            cells += [
                _cell(paired, sign="+"),
                NO_P if paired["p_t"] is None else f"{_p(paired['p_t'])}; {_p(paired['p_holm'])}",
                _p(paired["p_wilcoxon"]),
                _p(paired["p_permutation"]),
            ]
        else:
            cells += [""] * 4
        lines.append("| " + " | ".join(cells) + " |")
    pairs = [arm["paired"][measure] for arm in comparison["arms"].values() if "paired" in arm]
    if any(paired["num_seeds"] < 2 for paired in pairs):
        lines += ["", f"{NO_P}: one seed gives no p value, nor ± and interval: give more seeds."]
    if missing := comparison.get("missing_classes"):
        lines += ["", f"No image of {', '.join(missing)}: means are over the other classes."]
    return "\n".join(lines) + "\n"


def _cell(found: dict[str, Any], sign: str = "") -> str:
    text = f"{found['mean']:{sign}.1f}"
    if found["interval"] is None:
        return text
    low, high = found["interval"]
    return f"{text} ± {found['std']:.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


def _p(value: float | None) -> str:
    return NO_P if value is None else f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _range(interval: list[float]) -> str:
    return f"[{interval[0]:.1f}, {interval[1]:.1f}]"
