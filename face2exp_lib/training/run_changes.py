"""What of a run may change in mid-run: keys of its config, and images of its sets.

Each part of a run is made by the config and the images that it had, and `changes.jsonl` in its
folder tells at which step something else took their place.
"""

import io
import json
import os
import reprlib
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from face2exp_lib.config import RunConfig
from face2exp_lib.data.lists import list_hashes
from face2exp_lib.data.sources import below_data_root
from face2exp_lib.data.splits import RunData
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import read_json, read_jsonl, write_bytes, write_json, write_text
from face2exp_lib.training.plans import learns_from_all

CHANGES = "changes.jsonl"  # in a run directory
LISTS = "data_lists.npz"
NAMED_KEYS = 5  # that a message names

Kind = Literal["free", "noted", "fixed"]
SETS = ("long_tailed", "labelled", "validation", "test", "unlabelled")
SOURCES = ("data.labelled", "data.test", "data.unlabelled", "data.validation", "data.faces")

# free: decides nothing of what is learnt, or its last bits, as another machine does.
# noted: may change, and the run's record tells when (`--resume --changed`).
# fixed: another one is another run.
# Those of a pre-training stand among a run's.
KEYS: dict[str, dict[Kind, str]] = {
    "": {"free": "name device", "fixed": "method seed"},
    "data": {
        "free": "in_memory num_workers",
        "noted": "draw drop check_unlabelled stream_window",
        "fixed": "num_classes validation_per_class balanced per_class percent ratios stored_size "
        "view_size held_out most_held_out",
    },
    "SOURCE": {"noted": "path landmarks skip_bad", "fixed": "format part codes crop"},
    "training": {
        "free": "checkpoint_every_steps keep_checkpoints",
        "noted": "num_steps finetune_steps eta_b eta_a eta_finetune eta_rise_steps eta_last "
        "momentum_b momentum_a "
        "weight_decay ema label_smoothing eval_every_steps eta momentum",
        "fixed": "batch_size_fer batch_size_fr batches_fer view_fer warm_start_steps "
        "warm_start_labels batch_size view",
    },
    "network": {"fixed": "backbone pretrained"},
    "meta": {
        "noted": "w_s w_u w_c w_f ramp_steps consistency_temperature consistency_threshold "
        "pseudo_label_threshold",
        "fixed": "adaptation_view adaptation_labels consistency_target feedback feedback_unit "
        "feedback_norm feedback_batch pseudo_labels balance reweight batch_norm",
    },
    "class_balanced": {"noted": "beta"},
    "scn": {"noted": "w_rank high_share rank_margin relabel_margin relabel_from_epoch"},
    "cake": {"fixed": "dimensions"},
    "dmue": {"noted": "w_soft w_similarity w_auxiliary temperature ramp_epochs"},
    "ran": {"noted": "w_region margin", "fixed": "crops region attention"},
    "gacnn": {"fixed": "parts gated points"},
    "ldl_alsg": {"noted": "w_neighbours", "fixed": "neighbours sigma"},
    "ipa2lt": {"noted": "loss", "fixed": "coder_share"},
    "pseudo_label": {"noted": "w_u ramp_start ramp_end"},
    "uda": {"noted": "w_u confidence temperature tsa"},
    "fixmatch": {"noted": "w_u confidence"},
    "mean_teacher": {"noted": "w_c ramp decay_ramp decay"},
    "remixmatch": {"noted": "w_u w_anchor w_rotation temperature mixup ramp"},
    "freematch": {"noted": "w_u w_f decay"},
    "ada_cm": {"noted": "w_s w_u w_c beta gamma floor temperature"},
    "noisy_student": {"noted": "w_u threshold per_class", "fixed": "labels dropout rounds"},
    "meta_pseudo_labels": {
        "noted": "w_f w_c ramp label_smoothing temperature confidence",
        "fixed": "labels feedback baseline",
    },
    "aug": {"fixed": "patches patch_parts mouth patch_probability groups"},
    "compute": {
        "free": "compile threads",
        "noted": "precision loss_scale micro_batch_size batch_norm",
    },
    "telemetry": {"free": "pseudo_labels image_feedback_every distance_images tensorboard"},
}


def kind_of(key: str) -> Kind:
    """Whether and how a key of the config may change in mid-run."""
    section, _, name = key.rpartition(".")
    kinds = KEYS["SOURCE" if section in SOURCES else section]
    return next((kind for kind, names in kinds.items() if name in names.split()), "fixed")


def changed_keys(before: Any, now: Any, data_root: Path | None) -> dict[str, tuple[Any, Any]]:
    """Key -> its values, of those that differ and are not free; of two runs' configurations or two
    pre-trainings'. A path may be spelt otherwise."""
    old, new = _flat(asdict(before)), _flat(asdict(now))
    return {
        key: (old.get(key), new.get(key))
        for key in [*old, *(key for key in new if key not in old)]
        if old.get(key) != new.get(key)
        and kind_of(key) != "free"
        and not (
            _names_paths(key) and _paths(old.get(key), data_root) == _paths(new.get(key), data_root)
        )
    }


def told(changes: dict[str, tuple[Any, Any]]) -> str:
    """`training.eta_b 0.1 -> 0.01, ...`"""
    parts = [
        f"{key} {_value(old)} -> {_value(new)}"
        for key, (old, new) in list(changes.items())[:NAMED_KEYS]
    ]
    more = len(changes) - NAMED_KEYS
    return ", ".join(parts) + (f" and {more} more" if more > 0 else "")


def told_set(change: dict[str, Any]) -> str:
    """`31 images now, 32 then; 1 gone, 0 new`"""
    then, now = change["images"]
    parts = [f"{now} images now, {'none' if then is None else then} then"]
    if then == now and "gone" not in change:
        parts.append("not the same")
    if "gone" in change:
        parts.append(f"{change['gone']} gone, {change['new']} new")
    if change.get("trained_on"):
        parts.append(f"{change['trained_on']} of these trained on before")
    return "; ".join(parts)


def changed_sets(
    config: RunConfig, data: RunData, run_dir: Path, *, allowed: bool
) -> dict[str, dict[str, Any]]:
    """Set -> what is not as it was when the run began, or was last noted.

    Returns:
        `images`: how many then and now; where lists are known, how many are `gone` and `new` (with
        another label: both), and of validation and test how many of these `trained_on` before.

    Raises:
        Face2ExpError: if something has changed and it is not `allowed`, or all of a set has.
    """
    before, now = read_json(run_dir / "data.json", "sets")["sets"], data.record()["sets"]
    lists, held = _lists(data), _read_lists(run_dir)
    learnt_from = "long_tailed" if learns_from_all(config) else "labelled"
    trained_on = held.get(learnt_from, np.empty(0, np.uint64))
    changes: dict[str, dict[str, Any]] = {}
    for name, about in now.items():
        if before.get(name) == about:
            continue
        change: dict[str, Any] = {
            "images": [before.get(name, {}).get("num_images"), about["num_images"]]
        }
        if name in lists and name in held:
            new = np.setdiff1d(lists[name], held[name])
            change["gone"], change["new"] = len(np.setdiff1d(held[name], lists[name])), len(new)
            if name in ("validation", "test"):
                change["trained_on"] = int(np.isin(new, trained_on).sum())
            if len(new) == len(lists[name]):
                raise Face2ExpError(
                    f"{run_dir}: its {name} set has none of the images that the run began with: "
                    "restore it, or choose another --run-dir"
                )
        changes[name] = change
    if changes and not allowed:
        parts = ", ".join(f"{name} ({told_set(change)})" for name, change in changes.items())
        raise Face2ExpError(
            f"{run_dir}: has begun with other images: {parts}: restore them, go on with --resume "
            "--changed, which notes it in the run's record, or choose another --run-dir"
        )
    return changes


def note_changes(
    run_dir: Path, step: int, keys: dict[str, tuple[Any, Any]], sets: dict[str, dict[str, Any]]
) -> None:
    """Write down what changes at a step, before anything else tells of it.

    Steps after it, if there were any, are made anew: what changed at one of them changes now.
    """
    noted = [{**change, "step": min(change["step"], step)} for change in read_changes(run_dir)]
    change = {"step": step, "config": {key: list(pair) for key, pair in keys.items()}, "sets": sets}
    if (keys or sets) and noted[-1:] != [change]:
        noted.append(change)
    if step == 0:  # all of the run is made with what there is now
        noted = []
    if noted != read_changes(run_dir):
        write_text(run_dir / CHANGES, "".join(json.dumps(change) + "\n" for change in noted))


def read_changes(run_dir: Path) -> list[dict[str, Any]]:
    """What `note_changes` noted: `step`, `config` (key -> old and new value) and `sets`."""
    return read_jsonl(run_dir / CHANGES)


def write_data(data: RunData, run_dir: Path) -> None:
    """Write what the run's sets are: `data.json`, and what tells an image of a list from others."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **_lists(data))  # type: ignore[arg-type]
    write_bytes(run_dir / LISTS, buffer.getvalue())
    write_json(run_dir / "data.json", data.record())


def _lists(data: RunData) -> dict[str, np.ndarray]:
    """Of each set but a stream what `list_hashes` makes of it."""
    sets = {name: getattr(data, name) for name in SETS}
    listed = {name: faces.listed for name, faces in sets.items() if faces is not None}
    return {name: list_hashes(faces) for name, faces in listed.items() if faces is not None}


def _read_lists(run_dir: Path) -> dict[str, np.ndarray]:
    """Set -> its list; nothing where there is none that can be read."""
    try:
        with np.load(run_dir / LISTS, allow_pickle=False) as lists:
            return dict(lists)
    except (OSError, ValueError, zipfile.BadZipFile):
        return {}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def _names_paths(key: str) -> bool:
    section, _, name = key.rpartition(".")
    return key in ("data.draw", "data.drop") or (
        section in SOURCES and name in ("path", "landmarks")
    )


def _paths(value: Any, data_root: Path | None) -> list[str]:
    """Where the path or paths of a key lie."""
    texts = (value,) if isinstance(value, str) else tuple(value or ())
    try:
        return [os.path.realpath(below_data_root(text, data_root)) for text in texts]
    except Face2ExpError:  # there is no data root
        return list(texts)


def _value(value: Any) -> str:
    return "null" if value is None else reprlib.repr(value)
