"""Train a run: phases, validation, checkpoints, resume."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from face2exp_lib.config import RunConfig, dump_config, load_config
from face2exp_lib.data.batches import DecodedFaces
from face2exp_lib.data.splits import RunData, read_run_data
from face2exp_lib.evaluation.inference import evaluate_network
from face2exp_lib.methods.method import StepContext
from face2exp_lib.methods.passes import compile_networks, eager, threads
from face2exp_lib.networks import choose_device
from face2exp_lib.runtime import distributed as world
from face2exp_lib.runtime.errors import Face2ExpError, RunStopped
from face2exp_lib.runtime.provenance import environment
from face2exp_lib.runtime.storage import write_json, write_text
from face2exp_lib.training.averages import move_averages
from face2exp_lib.training.checkpoint import (
    RATES,
    Place,
    checkpoints,
    let_go,
    restore_state,
    save_state,
    way_on,
)
from face2exp_lib.training.phases import NO_PASSES, Phase
from face2exp_lib.training.plans import Plan, label_budget, plan_run
from face2exp_lib.training.run_changes import (
    changed_keys,
    changed_sets,
    note_changes,
    read_changes,
    write_data,
)
from face2exp_lib.training.run_checks import (
    about_patches,
    about_points,
    faces_to_be_read,
    must_be_readable,
    must_keep_what_it_chose,
    must_part,
)
from face2exp_lib.training.run_folder import claimed
from face2exp_lib.training.starts import must_begin_there, where_it_began
from face2exp_lib.training.stored_weights import save_checkpoint
from face2exp_lib.training.telemetry import Distance, Records

NAMED_IDS = 5  # images that a message names


def train(
    config: RunConfig,
    run_dir: Path | str,
    data_root: Path | str | None,
    *,
    resume: bool = False,
    changed: bool = False,
    trust: bool = False,
) -> None:
    """Train one run into `run_dir`; with `resume`, go on from its last checkpoint (or begin).

    Under torchrun every process calls this alike, and all see `run_dir`.

    On the same machine and versions a resumed run ends with the same weights and metrics, bit for
    bit, as an uninterrupted one, wherever it was killed. On SIGTERM the step at hand is finished
    and a checkpoint written. A finished run is left as it is.

    Args:
        changed: go on with another config or other images, where `run_changes` lets them change;
            the run's `changes.jsonl` tells at which step they did.
        trust: begin without a look at whether all labelled images can be read.

    Raises:
        Face2ExpError: if the folder holds a run and `resume` is not given, or another config's run,
            or another process is writing it; if data are missing, cannot be read or have changed
            since the run began; if a loss or weight is not finite; if the disk is full.
        RunStopped: after SIGTERM.
    """
    run_dir, data_root = Path(run_dir), Path(data_root) if data_root else None
    mine = claimed(config, run_dir, data_root, resume=resume, changed=changed)
    with world.joined(config.device), claimed_by_one(mine):
        if not (run_dir / "finished.json").exists():
            device = choose_device(config.device)
            with threads(config.compute, config.network.backbone, device):
                _train(config, run_dir, data_root, device, changed=changed, trust=trust)


@contextmanager
def claimed_by_one(claim: AbstractContextManager[None]) -> Iterator[None]:
    """The first process holds the folder and is the only one that writes; the others follow."""
    with claim if world.rank() == 0 else nullcontext():
        world.wait()
        yield


def _train(
    config: RunConfig,
    run_dir: Path,
    data_root: Path | None,
    device: torch.device,
    *,
    changed: bool,
    trust: bool,
) -> None:
    must_part(config)
    writes, goes_on = world.rank() == 0, bool(checkpoints(run_dir))
    data = read_run_data(config.data, config.seed, data_root)
    began = where_it_began(config.network)
    if goes_on:
        must_begin_there(run_dir, began)
    sets = changed_sets(config, data, run_dir, allowed=changed) if goes_on else {}
    in_memory = config.data.in_memory
    if writes and not trust and not in_memory and (sets or not goes_on):
        must_be_readable(faces_to_be_read(config, data), config.data.num_workers)
    plan = plan_run(config, data, device)
    compile_networks(plan.classifiers.values(), config.compute)
    validation = DecodedFaces(data.validation, config.data.stored_size, in_memory=in_memory)
    place = restore_state(run_dir, plan)
    must_keep_what_it_chose(plan.phases[place.phase], sets)
    if writes:
        points = about_patches(config, data), about_points(config, data)
        for note in [*data.notes(), *filter(None, points)]:
            tqdm.write(f"{run_dir.name}: {note}", file=sys.stderr)
        keys = (
            changed_keys(load_config(run_dir / "config.yaml"), config, data_root) if goes_on else {}
        )
        note_changes(run_dir, place.step, keys, sets)
        write_text(run_dir / "config.yaml", dump_config(config))
        made_with = environment() | {"processes": world.size()} | began
        write_json(run_dir / "environment.json", made_with)
        write_data(data, run_dir)
    distance = Distance(config, data)

    def validate() -> Validation:
        scores = _validate(config, plan, validation)
        told = {"validation": scores, "distance": distance.measure(plan.validated)}
        return Validation(told, scores[plan.deployed]["mean_class_accuracy"])

    place = take_steps(config, plan, place, run_dir, validate)
    if writes:
        write_json(run_dir / "finished.json", _summary(plan, data, place, read_changes(run_dir)))


class Validation(NamedTuple):
    """What a validation found.

    Attributes:
        told: what the record of its step says of it.
        score: the higher, the better; the best checkpoint is the first with the highest.
    """

    told: dict[str, Any]
    score: float


def take_steps(
    config: RunConfig,
    plan: Plan,
    place: Place,
    run_dir: Path | str,
    validate: Callable[[], Validation],
) -> Place:
    """Take all steps of a plan that are left, with what is written of them: records, checkpoints,
    the best one by validation.

    Args:
        config: of the run.
        plan: whose networks are as they were at `place`.
        place: steps done.
        run_dir: held by this process, or by the first of several.
        validate: called every so many steps and after the last.

    Returns:
        The end.

    Raises:
        Face2ExpError: if a loss or weight is not finite; if the disk is full.
        RunStopped: after SIGTERM.
    """
    run_dir, writes = Path(run_dir), world.rank() == 0
    num_steps = sum(phase.num_steps for phase in plan.phases)
    records = Records(config, run_dir, keep_before=place.step) if writes else None
    bar = tqdm(
        total=num_steps,
        initial=place.step,
        desc=run_dir.name,
        unit="step",
        disable=not writes or bool(os.environ.get("TQDM_DISABLE")),  # tqdm's own variable
    )
    # A checkpoint replaces those before it when the step after it is fine: weights may be finite
    # and lead to losses that are not.
    unproved = len(checkpoints(run_dir)) > config.training.keep_checkpoints
    with closing(records) if records else nullcontext(), bar, _stop_requests() as requested:
        for index, phase, given, losses in _steps(plan, place):
            given, losses = _of_all_processes(given, losses)
            world.average(_running_statistics(plan))
            try:
                numbers = _finite(losses, phase, given, place)
            except Face2ExpError as error:
                if writes and unproved:
                    checkpoints(run_dir)[-1].unlink()
                raise Face2ExpError(f"{error}; {way_on(run_dir)}") from error
            if writes and unproved:
                let_go(run_dir, config.training.keep_checkpoints)
                unproved = False
            move_averages(
                plan.averages, plan.networks, phase.rates, given.step, config.training.ema
            )
            record = {"step": place.step, "phase": phase.name, **numbers}
            place = place._replace(step=place.step + 1, phase=index)
            bar.update()
            done = place.step == num_steps
            if place.step % config.training.eval_every_steps == 0 or done:
                found = validate()
                record |= found.told
                bar.set_postfix(validation=f"{found.score:.1f}")
                if found.score > place.best_score:
                    place = place._replace(best_score=found.score)
                    weights = plan.validated[plan.deployed].state_dict()
                    best = {"step": place.step, "network": weights}
                    if writes:
                        save_checkpoint(run_dir / "checkpoints" / "best.pt", best)
            stop = world.anywhere(requested.is_set(), phase.device)
            if records:
                records.add(record, phase, given, losses)
                if place.step % config.training.checkpoint_every_steps == 0 or done or stop:
                    records.flush(place.step)
                    save_state(run_dir, place, plan)
                    unproved = True
            if stop and not done:
                raise RunStopped(f"{run_dir}: stopped after step {place.step} of {num_steps}")
    if writes:
        let_go(run_dir, config.training.keep_checkpoints)
    return place


def _steps(plan: Plan, place: Place) -> Iterator[tuple[int, Phase, StepContext, dict[str, Tensor]]]:
    """All steps from `place` on, with the index of their phase."""
    for index, phase in enumerate(plan.phases):
        if index >= place.phase:
            done_before = sum(earlier.num_steps for earlier in plan.phases[:index])
            for given, losses in phase.steps(max(place.step - done_before, 0)):
                yield index, phase, given, losses


def _of_all_processes(
    given: StepContext, losses: dict[str, Tensor]
) -> tuple[StepContext, dict[str, Tensor]]:
    """The whole batch's images, and what the step told of them: means, and a row an image."""
    if world.size() == 1:
        return given, losses
    device = next(iter(losses.values())).device
    numbers = [value for value in losses.values() if value.ndim == 0]
    world.average(numbers)
    rows = {name: world.gather(value) for name, value in losses.items() if value.ndim}
    fer, fr = (
        world.gather(indices.to(device)).cpu() for indices in (given.indices_fer, given.indices_fr)
    )
    return replace(given, indices_fer=fer, indices_fr=fr), {**losses, **rows}


def _running_statistics(plan: Plan) -> list[Tensor]:
    """Of batch norm, which each process moves by its own images."""
    found = [buffer for network in plan.networks.values() for buffer in network.buffers()]
    return [buffer for buffer in found if buffer.is_floating_point()]


@contextmanager
def _stop_requests() -> Iterator[threading.Event]:
    """An event that SIGTERM sets. Handlers belong to a process's main thread; in another, and
    where SIGTERM is already handled, nothing changes."""
    stop = threading.Event()

    def request(number: int, frame: FrameType | None) -> None:
        stop.set()

    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if ours:
        signal.signal(signal.SIGTERM, request)
    try:
        yield stop
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _validate(config: RunConfig, plan: Plan, faces: DecodedFaces) -> dict[str, dict[str, Any]]:
    with eager(config.compute):  # the graphs of training do not serve, and new ones do not pay
        return {
            name: evaluate_network(
                network,
                faces,
                view_size=config.data.view_size,
                num_classes=config.data.num_classes,
                workers=config.data.num_workers,
                title=f"validate {name}",
            )
            for name, network in plan.validated.items()
        }


def _finite(
    losses: dict[str, Tensor], phase: Phase, given: StepContext, place: Place
) -> dict[str, Any]:
    """Losses, the pseudo labels' mean confidence and the share that the network which learns them
    agrees with, as floats; pseudo labels as counts.

    Raises:
        Face2ExpError: naming loss, step and images, if one is NaN or infinite.
    """
    numbers = {name: value for name, value in losses.items() if value.ndim == 0}
    if "confidence_fr" in losses:
        numbers["confidence"] = losses["confidence_fr"].mean()
    if "y_learner_fr" in losses:
        numbers["agreement"] = (losses["y_learner_fr"] == losses["y_hat_fr"]).float().mean()
    # One transfer from the device, not one a loss.
    record: dict[str, Any] = dict(
        zip(numbers, torch.stack([v.float() for v in numbers.values()]).tolist(), strict=True)
    )
    for name, value in record.items():
        if not abs(value) < float("inf"):
            fer = _named(phase.labelled.ids_at(given.indices_fer.tolist()))
            message = f"{name} is {value} at step {place.step}, FER images {fer}"
            if phase.unlabelled is not None:
                fr = _named(phase.unlabelled.ids_at(given.indices_fr.tolist()))
                message += f", FR images {fr}"
            raise Face2ExpError(f"{message}: lower {RATES}")
    if "y_hat_fr" in losses:
        counts = torch.bincount(losses["y_hat_fr"], minlength=phase.config.data.num_classes)
        record["pseudo_labels"] = counts.tolist()
    return record


def _named(ids: list[str]) -> str:
    more = f" and {len(ids) - NAMED_IDS} more" if len(ids) > NAMED_IDS else ""
    return ", ".join(ids[:NAMED_IDS]) + more


def _summary(
    plan: Plan, data: RunData, place: Place, changes: list[dict[str, Any]]
) -> dict[str, Any]:
    passes = sum((phase.all_passes for phase in plan.phases), NO_PASSES)
    return {
        "num_steps": place.step,
        "image_passes": passes.forward,
        "image_backwards": passes.backward,
        "label_budget": label_budget(plan, data),
        "best_validation_mean_class_accuracy": place.best_score,
        **({"changes": changes} if changes else {}),
    }
