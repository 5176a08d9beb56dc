"""Train a run: phases, validation, checkpoints, resume."""

from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn
from tqdm import tqdm

from face2exp_lib.batches import DecodedFaces
from face2exp_lib.checkpoint import load_checkpoint, save_checkpoint
from face2exp_lib.config import RunConfig, dump_config, load_config
from face2exp_lib.errors import Face2ExpError
from face2exp_lib.evaluation import choose_device, evaluate_network
from face2exp_lib.metrics_log import MetricsLog
from face2exp_lib.networks import build_network
from face2exp_lib.passes import compile_networks, eager
from face2exp_lib.phases import Phase, Rate
from face2exp_lib.provenance import environment
from face2exp_lib.splits import RunData, read_run_data
from face2exp_lib.storage import read_json, write_json, write_text
from face2exp_lib.streamed import unlabelled_faces


def train(
    config: RunConfig, run_dir: Path, data_root: Path | None, *, resume: bool = False
) -> None:
    """Train one run into `run_dir`; with `resume`, go on from its last checkpoint (or begin).

    On the same machine and versions a resumed run ends with the same weights and metrics, bit for
    bit, as an uninterrupted one. A finished run is left as it is.

    Raises:
        Face2ExpError: if the folder holds a run and `resume` is not given, or another config's run,
            or another process is writing it; if data are missing or have changed since the run
            began; if a loss is not finite.
    """
    held = {path.name for path in run_dir.iterdir()} - {".lock"} if run_dir.is_dir() else set()
    if held and "config.yaml" not in held:
        raise Face2ExpError(f"{run_dir}: not empty and no run directory: choose another --run-dir")
    lock = FileLock(run_dir / ".lock")
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise Face2ExpError(
            f"{run_dir}: another process is training this run: wait for it"
        ) from error
    except OSError as error:
        raise Face2ExpError(
            f"{run_dir}: cannot write here ({error.strerror}): choose another --run-dir"
        ) from error
    try:
        _claim(config, run_dir, resume)
        if not (run_dir / "finished.json").exists():
            _train(config, run_dir, data_root)
    finally:
        lock.release()


def _train(config: RunConfig, run_dir: Path, data_root: Path | None) -> None:
    device = choose_device(config.device)
    data = read_run_data(config, data_root)
    last, best = run_dir / "checkpoints" / "last.pt", run_dir / "checkpoints" / "best.pt"
    if last.exists():
        _must_be_same_data(data, run_dir)
    networks = {
        name: build_network(
            config.network.backbone,
            config.data.num_classes,
            pretrained=config.network.pretrained,
            seed=config.seed + 1_000_003 * index,  # weights of their own (paper 3.1)
        ).to(device)
        for index, name in enumerate(("base", "adaptation")[: 2 if config.method == "meta" else 1])
    }
    compile_networks(networks.values(), config.compute)
    deployed = "adaptation" if config.method == "meta" else "base"
    phases = plan_phases(config, data, networks)
    validation = _decoded(config, data, "validation")
    step, first_phase, best_score = _restore(last, networks, phases)
    write_text(run_dir / "config.yaml", dump_config(config))
    write_json(run_dir / "environment.json", environment())
    write_json(run_dir / "data.json", data.record())
    log = MetricsLog(run_dir / "metrics.jsonl", keep_before=step)

    num_steps = sum(phase.num_steps for phase in phases)
    every = config.training
    bar = tqdm(total=num_steps, initial=step, desc=run_dir.name, unit="step")
    with closing(log), bar:
        for phase_index, phase in enumerate(phases):
            if phase_index < first_phase:
                continue
            phase_start = sum(earlier.num_steps for earlier in phases[:phase_index])
            for losses in phase.steps(step - phase_start):
                record = {"step": step, "phase": phase.name, **_finite(losses, step)}
                step += 1
                bar.update()
                if step % every.eval_every_steps == 0 or step == num_steps:
                    scores = _validate(config, networks, validation)
                    record["validation"] = scores
                    score = scores[deployed]["mean_class_accuracy"]
                    bar.set_postfix(val_mean=f"{score:.1f}")
                    if score > best_score:
                        best_score = score
                        weights = networks[deployed].state_dict()
                        save_checkpoint(best, {"step": step, "network": weights})
                log.append(record)
                if step % every.checkpoint_every_steps == 0 or step == num_steps:
                    log.flush()
                    save_checkpoint(last, _state(step, phase_index, best_score, networks, phase))
    finished = {
        "num_steps": num_steps,
        "image_passes": sum(phase.num_steps * phase.image_passes for phase in phases),
        "label_budget": data.label_budget,
        "best_validation_mean_class_accuracy": best_score,
    }
    write_json(run_dir / "finished.json", finished)


def plan_phases(config: RunConfig, data: RunData, networks: dict[str, nn.Module]) -> list[Phase]:
    """Warm start, Algorithm 1 and fine-tune; for the baseline, one supervised phase."""
    training = config.training
    labelled = _decoded(config, data, "labelled")
    rate_b = Rate(training.eta_b, training.momentum_b)
    if config.method == "supervised":
        return [
            Phase("supervised", training.num_steps, config, networks, {"base": rate_b}, labelled)
        ]
    phases = []
    if training.warm_start_steps:
        long_tailed = training.warm_start_labels == "long_tailed"
        warm_labels = _decoded(config, data, "long_tailed") if long_tailed else labelled
        rates = {"base": rate_b, "adaptation": rate_b}
        phases.append(
            Phase("warm_start", training.warm_start_steps, config, networks, rates, warm_labels)
        )
    rates = {"base": rate_b, "adaptation": Rate(training.eta_a, training.momentum_a)}
    unlabelled = unlabelled_faces(data.unlabelled, config.data)
    phases.append(Phase("meta", training.num_steps, config, networks, rates, labelled, unlabelled))
    if training.finetune_steps:
        adaptation = {"adaptation": networks["adaptation"]}
        fixed = {"adaptation": Rate(training.eta_finetune, decays=False)}
        phases.append(
            Phase("finetune", training.finetune_steps, config, adaptation, fixed, labelled)
        )
    return phases


def _claim(config: RunConfig, run_dir: Path, resume: bool) -> None:
    """Make sure that training into the folder overwrites nothing."""
    path = run_dir / "config.yaml"
    if not path.exists():
        return
    begun = (run_dir / "checkpoints").exists() or (run_dir / "finished.json").exists()
    if begun and not resume:
        raise Face2ExpError(
            f"{run_dir}: holds a run already: go on with --resume, or choose another --run-dir"
        )
    # A run that stopped before its first checkpoint may begin anew with another config. But a
    # config.yaml that no run has put there is somebody's own file.
    if begun or not (run_dir / "environment.json").exists():
        try:
            same = load_config(path) == config
        except Face2ExpError:
            same = False
        if not same:
            raise Face2ExpError(
                f"{run_dir}: holds a run of another config: see {path}, or choose another --run-dir"
            )


def _must_be_same_data(data: RunData, run_dir: Path) -> None:
    """Make sure that a run goes on with the images and labels that it began with.

    Raises:
        Face2ExpError: naming the set that has changed.
    """
    if not (run_dir / "data.json").exists():  # a run of a version that wrote none
        return
    begun_with = read_json(run_dir / "data.json", "sets")["sets"]
    for name, now in data.record()["sets"].items():
        if begun_with.get(name) != now:
            raise Face2ExpError(
                f"{run_dir}: its {name} set has changed since the run began (now "
                f"{now['num_images']} images, see data.json there): restore it, or choose another "
                "--run-dir"
            )


def _restore(
    last: Path, networks: dict[str, nn.Module], phases: list[Phase]
) -> tuple[int, int, float]:
    """Take up the state of a checkpoint, if there is one.

    Returns:
        Steps done, index of the phase of the last of them, best validation score.

    Raises:
        Face2ExpError: if the checkpoint is broken or another run's.
    """
    if not last.exists():
        return 0, 0, -1.0
    state = load_checkpoint(last, {"step", "phase", "best_score", "networks", "optimisers"})
    try:
        for name, network in networks.items():
            network.load_state_dict(state["networks"][name])
        for name, optimiser in phases[state["phase"]].optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        if "feedback_history" in state:  # a version before it had none, and needed none
            phases[state["phase"]].history.load_state_dict(state["feedback_history"])
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise Face2ExpError(
            f"{last}: its state does not fit this run's config: it belongs to another run"
        ) from error
    return state["step"], state["phase"], state["best_score"]


def _decoded(config: RunConfig, data: RunData, part: str) -> DecodedFaces:
    return DecodedFaces(
        getattr(data, part), config.data.stored_size, in_memory=config.data.in_memory
    )


def _validate(
    config: RunConfig, networks: dict[str, nn.Module], faces: DecodedFaces
) -> dict[str, dict[str, Any]]:
    with eager(config.compute):  # the graphs of training do not serve, and new ones do not pay
        return {
            name: evaluate_network(
                network,
                faces,
                view_size=config.data.view_size,
                num_classes=config.data.num_classes,
                workers=config.data.num_workers,
            )
            for name, network in networks.items()
        }


def _finite(losses: dict[str, Tensor], step: int) -> dict[str, Any]:
    """Losses as floats, pseudo labels as counts.

    Raises:
        Face2ExpError: naming loss and step, if one is NaN or infinite.
    """
    record: dict[str, Any] = {}
    for name, value in losses.items():
        if name == "y_hat_fr":
            record["pseudo_labels"] = torch.bincount(value).tolist()
        elif not torch.isfinite(value):
            raise Face2ExpError(
                f"{name} is {value.item()} at step {step}: lower eta_a or eta_b; the last "
                "checkpoint is kept"
            )
        else:
            record[name] = value.item()
    return record


def _state(
    step: int, phase_index: int, best_score: float, networks: dict[str, nn.Module], phase: Phase
) -> dict[str, Any]:
    return {
        "step": step,
        "phase": phase_index,
        "best_score": best_score,
        "networks": {name: network.state_dict() for name, network in networks.items()},
        "optimisers": {name: opt.state_dict() for name, opt in phase.optimisers.items()},
        "feedback_history": phase.history.state_dict(),
    }
