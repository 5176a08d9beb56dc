"""Part 4: FER2013 and the rendered faces at the published setting, by `face2exp compare`.

It goes on where it was stopped, and what it leaves has the form of `results/`.
"""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from benchmarks.gpu.pack import unpacked
from benchmarks.gpu.piece import ROOT, TO_STOP_SECONDS, OutOfTime, Piece, Settings, last_lines, run
from face2exp_lib.runtime.storage import read_json, write_text

HERE = Path(__file__).parent
# Study -> whether it needs the packed faces; a seed of each first, then the others.
STUDIES = {"fer2013": True, "rendered": False}
SEEDS = (1, 3)  # how many
LEAST_SECONDS = 90  # to load torch and data, take some steps, and write the state
TINY: dict[str, Any] = {
    "network": {"backbone": "small"},
    "compute": {"precision": "float32"},
    "training": {
        "num_steps": 2,
        "batch_size_fer": 4,
        "batch_size_fr": 4,
        "eval_every_steps": 2,
        "checkpoint_every_steps": 1,
    },
}
TINY_DATA = {"per_class": 2, "validation_per_class": 1}
TINY_ARMS = ("supervised", "meta")


def pieces(settings: Settings) -> list[Piece]:
    """A piece for each study and number of seeds. A dry run has one, on the packed faces."""
    if settings.tiny:
        return [Piece("studies", "fer2013_seeds_1", 1, partial(study, "fer2013", 1))]
    return [
        Piece("studies", f"{name}_seeds_{seeds}", LEAST_SECONDS, partial(study, name, seeds))
        for seeds in SEEDS
        for name in STUDIES
    ]


def study(name: str, seeds: int, settings: Settings) -> dict[str, Any]:
    """Make, or go on with, the runs of a study; what came out of them."""
    root = None
    if STUDIES[name]:
        if settings.data is None:
            raise OutOfTime(
                "needs the faces of `python -m benchmarks.gpu.pack`: name them with --data"
            )
        root = unpacked(settings.data, settings.out)
    out = settings.out / "studies" / name
    path = prepared(name, out, settings)
    command = [sys.executable, "-m", "face2exp_lib.cli", "compare", str(path), "--slim"]
    command += ["--out", str(out), "--seeds", *map(str, range(seeds))]
    command += ["--data-root", str(root)] if root else []
    variables = os.environ | {"PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"}
    try:
        done = run(command, settings.left() - TO_STOP_SECONDS, env=variables)
    except OutOfTime as stopped:
        raise OutOfTime(f"{stopped}, {progress(out)}") from stopped
    if done.returncode:
        return {"failed": last_lines(done.stdout)}
    result = read_json(out / "comparison.json")
    return {"study": name, "seeds": seeds, "compared": result["compared"]}


def prepared(name: str, out: Path, settings: Settings) -> Path:
    """The comparison's file and its config's, with this device, and of a dry run its sizes."""
    config = yaml.safe_load((HERE / f"{name}.yaml").read_text())
    comparison = yaml.safe_load((HERE / f"study_{name}.yaml").read_text())
    config["device"] = settings.device
    if settings.tiny:
        for key, value in TINY.items():
            config[key] = {**config[key], **value}
        config["data"] |= TINY_DATA
        comparison["arms"] = {arm: comparison["arms"][arm] for arm in TINY_ARMS}
    write_text(out / comparison["config"], yaml.safe_dump(config, sort_keys=False))
    path = out / f"study_{name}.yaml"
    write_text(path, yaml.safe_dump(comparison, sort_keys=False))
    return path


def progress(out: Path) -> str:
    """How many runs are whole."""
    whole = len(list(out.glob("runs/*/evaluation-*.json")))
    return f"{whole} runs are whole, the next call goes on"
