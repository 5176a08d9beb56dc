"""Where a run stands, in a checkpoint that it can go on from."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import torch

from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.training.plans import Plan
from face2exp_lib.training.stored_weights import load_checkpoint, save_checkpoint

RATES = "training.eta_a or eta_b (of a pre-training: eta)"  # in messages
KEYS = {"step", "phase", "best_score", "networks", "state"}


class Place(NamedTuple):
    """Where a run stands.

    Attributes:
        step: steps done.
        phase: index of the phase of the last of them.
        best_score: of the validations so far; -1 before the first.
    """

    step: int = 0
    phase: int = 0
    best_score: float = -1.0


def checkpoints(run_dir: Path) -> list[Path]:
    """The checkpoints that a run can go on from, oldest first."""
    found = [
        (int(match[1]), path)
        for path in (run_dir / "checkpoints").glob("step-*.pt")
        if (match := re.fullmatch(r"step-(\d+)\.pt", path.name))
    ]
    return [path for _, path in sorted(found)]


def save_state(run_dir: Path, place: Place, plan: Plan) -> None:
    """Write a checkpoint.

    Raises:
        Face2ExpError: if a weight is not finite, or the disk is full; the earlier ones stay.
    """
    networks = {name: network.state_dict() for name, network in plan.networks.items()}
    for name, weights in networks.items():
        if not torch.stack([torch.isfinite(value).all() for value in weights.values()]).all():
            raise Face2ExpError(
                f"the weights of {name} are not finite at step {place.step}: lower {RATES}, or "
                f"compute.loss_scale; {way_on(run_dir)}"
            )
    state = plan.phases[place.phase].state_dict()
    lengths = [phase.num_steps for phase in plan.phases]
    path = run_dir / "checkpoints" / f"step-{place.step:08}.pt"
    content = {**place._asdict(), "lengths": lengths, "networks": networks, "state": state}
    if plan.averages:
        content["averages"] = {name: net.state_dict() for name, net in plan.averages.items()}
    save_checkpoint(path, content)


def let_go(run_dir: Path, keep: int) -> None:
    """Delete the checkpoints before the last `keep`."""
    for old in checkpoints(run_dir)[:-keep]:
        old.unlink()


def way_on(run_dir: Path) -> str:
    """How a run whose weights have diverged goes on, for a message."""
    found = checkpoints(run_dir)
    if not found:
        return "there is no checkpoint yet, so --resume begins anew"
    return f"--resume --changed goes on from {found[-1].name}"


def restore_state(run_dir: Path, plan: Plan) -> Place:
    """Take up the newest checkpoint, if there is one.

    Raises:
        Face2ExpError: if it is broken or another run's.
    """
    found = checkpoints(run_dir)
    if not found:
        return Place()
    path = found[-1]
    try:
        state: dict[str, Any] = load_checkpoint(path, KEYS)
    except Face2ExpError as error:
        if len(found) == 1:
            raise
        raise Face2ExpError(
            f"{path}: cut off or no checkpoint: delete it, and --resume goes on from "
            f"{found[-2].name}"
        ) from error
    place = Place(state["step"], state["phase"], state["best_score"])
    _must_be_in_its_phase(path, place, state.get("lengths"), plan)
    try:
        for name, network in plan.networks.items():
            network.load_state_dict(state["networks"][name])
        for name, average in plan.averages.items():  # the weights, if the run had none so far
            average.load_state_dict(state.get("averages", state["networks"])[name])
        plan.phases[place.phase].load_state_dict(state["state"])
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise Face2ExpError(
            f"{path}: its state does not fit this run's config: it belongs to another run"
        ) from error
    return place


def _must_be_in_its_phase(path: Path, place: Place, lengths: list[int] | None, plan: Plan) -> None:
    """Phases that are done keep their lengths, and the one at hand is not over."""
    now = [phase.num_steps for phase in plan.phases]
    if lengths is None:  # of a version that wrote none
        return
    if now[: place.phase] != lengths[: place.phase] or place.step > sum(now[: place.phase + 1]):
        raise Face2ExpError(
            f"{path}: it has come further than the config's phases of {now} steps: those that are "
            f"done were of {lengths}: set training.num_steps and finetune_steps by these"
        )
