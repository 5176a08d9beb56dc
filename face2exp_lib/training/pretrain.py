"""Pre-training: a backbone learns to tell persons apart, which FR faces say by themselves, before
it learns expressions. No expression label is read.

What comes out is the folder of a run, and `network.pretrained` of another takes its weights but for
the last layer. The loss is the softmax's on cosines, without a margin (NormFace).
"""

import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from face2exp_lib.config import dump_config
from face2exp_lib.data.batches import DecodedFaces
from face2exp_lib.data.identities import Identities, some_identities, split_identities
from face2exp_lib.data.lists import read_drops
from face2exp_lib.data.sources import below_data_root
from face2exp_lib.evaluation.identities import evaluate_identities
from face2exp_lib.methods.cost import learning
from face2exp_lib.methods.passes import compile_networks, eager, threads
from face2exp_lib.methods.supervised import SUPERVISED
from face2exp_lib.networks import choose_device, must_take, synchronised
from face2exp_lib.runtime import distributed as world
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.provenance import environment
from face2exp_lib.runtime.storage import read_json, write_json, write_text
from face2exp_lib.training.checkpoint import checkpoints, restore_state
from face2exp_lib.training.loop import Validation, claimed_by_one, take_steps
from face2exp_lib.training.phases import Phase, Rate
from face2exp_lib.training.plans import Plan
from face2exp_lib.training.pretrain_config import PretrainConfig, load_pretrain_config
from face2exp_lib.training.run_changes import changed_keys, note_changes, read_changes
from face2exp_lib.training.run_checks import must_part
from face2exp_lib.training.run_folder import claimed
from face2exp_lib.training.starts import initial_network, must_begin_there, where_it_began


class CosineHead(nn.Module):
    """A last layer whose logits are `scale` times the cosines between features and weights."""

    def __init__(self, num_features: int, num_classes: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_classes, num_features))
        self.scale = scale

    def forward(self, features: Tensor) -> Tensor:
        """(N, D) to (N, K)."""
        return self.scale * F.linear(F.normalize(features), F.normalize(self.weight))


def pretrain(
    config: PretrainConfig,
    run_dir: Path | str,
    data_root: Path | str | None,
    *,
    resume: bool = False,
    changed: bool = False,
) -> None:
    """Train a backbone on identities into `run_dir`; everything else is as in `loop.train`.

    Raises:
        Face2ExpError: as there; if the set does not say whose faces it holds.
        RunStopped: after SIGTERM.
    """
    run_dir, data_root = Path(run_dir), Path(data_root) if data_root else None
    mine = claimed(
        config, run_dir, data_root, resume=resume, changed=changed, load=load_pretrain_config
    )
    with world.joined(config.device), claimed_by_one(mine):
        if not (run_dir / "finished.json").exists():
            device = choose_device(config.device)
            with threads(config.compute, config.network.backbone, device):
                _pretrain(config, run_dir, data_root, device)


def read_persons(config: PretrainConfig, data_root: Path | str | None) -> Identities:
    """The faces of a pre-training, in their two parts.

    Raises:
        Face2ExpError: if the set is missing, or does not say whose faces it holds.
    """
    data, data_root = config.data, Path(data_root) if data_root else None
    faces = data.faces.read(data_root)
    tables = (data.drop,) if isinstance(data.drop, str) else data.drop or ()
    drops = read_drops(*(below_data_root(table, data_root) for table in tables))
    faces, *_ = faces.without(drops.ids(faces.name, faces.origin), set())
    return split_identities(faces, data.held_out, config.seed)


def plan_pretraining(config: PretrainConfig, persons: Identities, device: torch.device) -> Plan:
    """One network and one phase."""
    run = config.as_run()
    network = initial_network(config.network, 2, config.seed)
    last_layer = network.head
    assert isinstance(last_layer, nn.Linear)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network.fc = CosineHead(last_layer.in_features, persons.number, config.training.scale)
    must_take(network, config.network.backbone, config.data.view_size)
    networks: dict[str, nn.Module] = {"base": network.to(device)}
    if config.compute.batch_norm == "sync" and world.size() > 1:
        networks = {name: synchronised(net) for name, net in networks.items()}
    size, in_memory = config.data.stored_size, config.data.in_memory
    phase = Phase(
        "identities",
        config.training.num_steps,
        run,
        networks,
        {"base": Rate(config.training.eta, config.training.momentum)},
        SUPERVISED.step,
        None,
        learning(config.training.batch_size),
        DecodedFaces(persons.train, size, in_memory=in_memory),
    )
    plan = Plan(networks, "base", [phase])
    if config.training.ema:
        plan.averages = deepcopy(plan.classifiers)
    return plan


def _pretrain(
    config: PretrainConfig, run_dir: Path, data_root: Path | None, device: torch.device
) -> None:
    run = config.as_run()
    must_part(run)
    goes_on = bool(checkpoints(run_dir))
    began = where_it_began(config.network)
    persons = read_persons(config, data_root)
    record = _record(persons)
    if goes_on:
        must_begin_there(run_dir, began)
        _must_be_the_same(run_dir, record)
    plan = plan_pretraining(config, persons, device)
    compile_networks(plan.classifiers.values(), config.compute)
    seen = some_identities(persons.held_out, config.data.most_held_out, config.seed)
    held_out = DecodedFaces(seen, config.data.stored_size, in_memory=config.data.in_memory)
    place = restore_state(run_dir, plan)
    if world.rank() == 0:
        if persons.alone:
            note = f"note: {persons.alone} persons have one image and are left out"
            tqdm.write(f"{run_dir.name}: {note}", file=sys.stderr)
        before = load_pretrain_config(run_dir / "config.yaml") if goes_on else config
        note_changes(run_dir, place.step, changed_keys(before, config, data_root), {})
        write_text(run_dir / "config.yaml", dump_config(config))
        made_with = environment() | {"processes": world.size()} | began
        write_json(run_dir / "environment.json", made_with)
        write_json(run_dir / "data.json", record)

    def validate() -> Validation:
        data = config.data
        with eager(config.compute):
            found = evaluate_identities(
                plan.validated["base"],
                held_out,
                view_size=data.view_size,
                workers=data.num_workers,
            )
        return Validation({"validation": {"base": found}}, found["identity_accuracy"])

    place = take_steps(run, plan, place, run_dir, validate)
    if world.rank() == 0:
        passes = plan.phases[0].all_passes
        finished: dict[str, Any] = {
            "num_steps": place.step,
            "image_passes": passes.forward,
            "image_backwards": passes.backward,
            "num_identities": persons.number,
            "best_validation_identity_accuracy": place.best_score,
        }
        if changes := read_changes(run_dir):
            finished["changes"] = changes
        write_json(run_dir / "finished.json", finished)


def _record(persons: Identities) -> dict[str, object]:
    """What the sets are."""
    sets = {"train": persons.train, "held_out": persons.held_out}
    return {
        "sets": {
            name: {"num_images": len(faces), "digest": faces.digest} for name, faces in sets.items()
        },
        "num_identities": persons.number,
        "left_out": {"persons with one image": persons.alone},
    }


def _must_be_the_same(run_dir: Path, record: dict[str, object]) -> None:
    if read_json(run_dir / "data.json", "sets")["sets"] != record["sets"]:
        raise Face2ExpError(
            f"{run_dir}: has begun with other images, or other persons: restore them, or choose "
            "another --run-dir"
        )
