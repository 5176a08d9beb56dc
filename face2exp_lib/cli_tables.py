"""What `face2exp data inspect`, `data audit` and `analyse` print."""

from collections import Counter
from typing import Any

import numpy as np

from face2exp_lib.audit import Audit
from face2exp_lib.audited_sets import AuditedSet
from face2exp_lib.fingerprints import BITS
from face2exp_lib.inspection import Inspection


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
    """How many faces were found, by `sidecars.count_states`."""
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
