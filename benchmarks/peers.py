"""Rivals of ours held against USB's, a peer's: the same steps on the same tensors, FixMatch whole.

    python3 -m venv usb
    usb/bin/pip install . semilearn==0.3.2
    usb/bin/python -m benchmarks.peers --data-root DIR --json results/benchmarks/peers.json

losses    A step, of Mean Teacher two, of Pseudo-Label, UDA, FixMatch, Mean Teacher and ReMixMatch
          by USB's algorithm and by ours: total loss, weights after SGD, running statistics. First
          with the defaults of both; where they differ, again with one difference after the other
          taken away, until they agree (`benchmarks.peer_steps`).
speed     A step of FixMatch by either in turns, on the same tensors; and the views of a step, by
          either's own pipeline.
run       FixMatch on FER2013, 100 labels of each class, from the same weights and on the same
          batches by our loop and by USB's: accuracy on PublicTest, read once at the end, and
          images a second.

`--only losses` needs no faces; the others want FER2013 and LFW, see configs/fer2013_lfw_cpu.yaml. A
file that is there keeps the parts that are not run. USB trains on GPUs alone: `benchmarks.usb` says
what is left out of it on a CPU.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from benchmarks import peer_steps, usb
from benchmarks.side_by_side import CLOCKS, MIB, Measurement, Variant, measure, ratio
from face2exp_lib.backbones.face_network import FaceNetwork
from face2exp_lib.config import RunConfig, data_root, load_config
from face2exp_lib.data.batches import DecodedFaces
from face2exp_lib.data.splits import RunData, read_run_data
from face2exp_lib.evaluation.inference import evaluate_network
from face2exp_lib.methods.fixmatch import fixmatch_step
from face2exp_lib.methods.method import StepBatch
from face2exp_lib.methods.passes import threads
from face2exp_lib.networks import build_network
from face2exp_lib.runtime.provenance import environment
from face2exp_lib.runtime.storage import read_json, write_json
from face2exp_lib.training.averages import move_averages
from face2exp_lib.training.checkpoint import restore_state
from face2exp_lib.training.loop import Validation, take_steps
from face2exp_lib.training.phases import Phase
from face2exp_lib.training.plans import Plan, plan_run

PARTS = ("losses", "speed", "run")
SIDES = ("ours", "usb", "usb_matched")  # of a run
CONFIG = "fer2013_lfw_cpu.yaml"
# The published ratio of the two batches, rate, momentum, weight decay and threshold, on a small
# network and fewer images, for a CPU. All sides begin at the weights of one warm start, without
# which few guesses were confident in so short a run.
CHANGES = (
    "method=fixmatch",
    "compute.threads=1",
    "training.batch_size_fer=16",
    "training.batch_size_fr=112",
    "training.eta_b=0.03",
    "training.eta_last=0.2",
    "training.momentum_b=0.9",
    "training.weight_decay=0.0005",
    "training.ema=0.99",  # of 0.999 most would be the weights at the start
    "training.warm_start_steps=500",
    "training.finetune_steps=0",
    # USB records nothing of single images.
    "telemetry.pseudo_labels=false",
    "telemetry.distance_images=0",
)
ENDS = ("num_steps", "eval_every_steps", "checkpoint_every_steps")


def settled(num_steps: int, seed: int = 0) -> RunConfig:
    """The run that both sides take; it validates and writes its checkpoint once."""
    ends = [f"training.{key}={num_steps}" for key in ENDS]
    return load_config(CONFIG, [*CHANGES, *ends, f"seed={seed}"])


def settings(config: RunConfig) -> dict[str, Any]:
    """The same of USB's; the rest is its defaults: Nesterov's momentum, a cosine that ends at a
    fifth, no decay of biases and batch norm, the threshold 0.95, the three kinds in one batch."""
    training = config.training
    return {
        "num_train_iter": training.num_steps,
        "num_eval_iter": training.num_steps,
        "batch_size": training.batch_size_fer,
        "uratio": training.batch_size_fr // training.batch_size_fer,
        "lr": training.eta_b,
        "momentum": training.momentum_b,
        "weight_decay": training.weight_decay,
        "ema_m": training.ema,
        "seed": config.seed,
        "img_size": config.data.view_size,
    }


def main_phase(config: RunConfig, data: RunData, *, warm: bool) -> Phase:
    """FixMatch's, with its faces decoded; with `warm` its network has had the warm start."""
    warm_start, phase = plan_run(config, data, torch.device("cpu")).phases
    if warm:
        for _ in warm_start.steps(0):
            pass
    return phase


def batches(phase: Phase) -> Iterator[StepBatch]:
    """Those of every step; nothing is learnt."""
    looked_at = replace(phase, take_step=lambda given: {})
    return (given.batch for given, _ in looked_at.steps(0))


def our_optimiser(config: RunConfig, phase: Phase) -> Callable[[nn.Module], tuple[Any, Any]]:
    """The run's own optimiser and rates, as USB takes them."""
    rate, training = phase.rates["base"], config.training

    def made(model: nn.Module) -> tuple[Any, Any]:
        optimiser = SGD(
            model.parameters(),
            lr=rate.eta,
            momentum=rate.momentum,
            weight_decay=training.weight_decay,
        )
        share = LambdaLR(optimiser, lambda step: rate.at(step, training.num_steps) / rate.eta)
        return optimiser, share

    return made


# --- speed ---


def our_step(config: RunConfig) -> tuple[Callable[[], object], int]:
    """A step of a run on a batch of noise, moving average and all."""
    network, batch = _network(config), _noise(config)
    training = config.training
    optimiser = SGD(
        network.parameters(),
        lr=training.eta_b,
        momentum=training.momentum_b,
        weight_decay=training.weight_decay,
    )
    averages = {"base": deepcopy(network)}

    def step() -> None:
        told = fixmatch_step(network, optimiser, batch, config.fixmatch, config.compute)
        move_averages(averages, {"base": network}, ["base"], 1, training.ema)
        torch.stack([told["loss_s"], told["loss_u"], told["kept_fr"]]).tolist()  # USB tells, too

    return step, _bytes(network, averages["base"], batch)


def usb_step(
    config: RunConfig, memory_format: torch.memory_format, changes: dict[str, Any]
) -> tuple[Callable[[], object], int]:
    """The same of USB's."""
    network = _network(config).to(memory_format=memory_format)
    made = usb.algorithm("fixmatch", network, **settings(config) | changes)
    batch = _noise(config)
    return partial(usb.step, made, 0, peer_steps.both_views(batch)), _bytes(
        made.model, made.ema_model, batch
    )


def our_views(config: RunConfig, root: Path | None) -> tuple[Callable[[], object], int]:
    """Labelled, plain and augmented views of a step."""
    data = read_run_data(config.data, config.seed, root)
    drawn = batches(main_phase(config, data, warm=False))
    return lambda: next(drawn), 0


def usb_views(config: RunConfig, root: Path | None) -> tuple[Callable[[], object], int]:
    """The same by USB's data sets, transforms and loaders, put together as its CIFAR-10 is, in one
    process."""
    datasets, cifar, utils = (
        usb.semilearn(f"semilearn.{name}")
        for name in ("datasets.cv_datasets.datasetbase", "datasets.cv_datasets.cifar", "core.utils")
    )
    chosen = usb.semilearn().get_config(settings(config) | {"algorithm": "fixmatch"})
    data = read_run_data(config.data, config.seed, root)
    tools, side = cifar.transforms, config.data.view_size
    shift = [
        tools.Resize(side),
        tools.RandomCrop(side, int(side * (1 - chosen.crop_ratio)), padding_mode="reflect"),
        tools.RandomHorizontalFlip(),
    ]
    tensor = [tools.ToTensor(), tools.Normalize(cifar.mean["cifar10"], cifar.std["cifar10"])]
    weak = tools.Compose([*shift, *tensor])
    strong = tools.Compose([*shift, cifar.RandAugment(3, 5), *tensor])

    def loader(faces: Any, size: int, *, unlabelled: bool) -> Iterator[Any]:
        decoded = DecodedFaces(faces, config.data.stored_size, in_memory=True)
        assert decoded.decoded
        images = decoded.decoded[0].permute(0, 2, 3, 1).numpy()
        labels = None if unlabelled else decoded.labels.numpy()
        named = datasets.BasicDataset(
            "fixmatch", images, labels, peer_steps.CLASSES, weak, unlabelled, strong
        )
        found: Iterator[Any] = iter(
            utils.get_data_loader(chosen, named, size, num_epochs=1, num_workers=0)
        )
        return found

    training = config.training
    labelled = loader(data.labelled, training.batch_size_fer, unlabelled=False)
    others = loader(data.unlabelled, training.batch_size_fr, unlabelled=True)
    return lambda: (next(labelled), next(others)), 0


def speed(config: RunConfig, root: Path | None, turns: int, clock: str) -> dict[str, Any]:
    """Steps and views in turns, and what a whole step takes, each side with its own views."""
    plain, last = torch.contiguous_format, torch.channels_last
    apart = {"use_cat": False}
    variants = [
        Variant("ours", our_step, (config,)),
        Variant("usb", usb_step, (config, plain, {})),
        Variant("usb+channels_last", usb_step, (config, last, {})),
        Variant("usb+a_pass_each", usb_step, (config, plain, apart)),
        Variant("usb+channels_last+a_pass_each", usb_step, (config, last, apart)),
        Variant("our_views", our_views, (config, root), countable=False),
        Variant("usb_views", usb_views, (config, root), countable=False),
    ]
    found = measure(variants, turns, config.compute.threads or 1, clock)
    return {"turns": turns, "clock": clock, "ways": table(found), **whole(found)}


def table(found: dict[str, Measurement]) -> dict[str, Any]:
    """Of each way the median seconds, and how many times ours those are, with quartiles; steps
    against our step, views against our views."""
    rows = {}
    for name, it in found.items():
        beside = found["our_views" if name.endswith("views") else "ours"]
        rows[name] = {
            "seconds": round(middle(it), 4),
            "times_ours": [round(x, 3) for x in ratio(it, beside)],
        }
        if it.flops:
            rows[name] |= {
                "gflops": round(it.flops / 1e9, 2),
                "allocated_mib": round(it.allocated / MIB, 1),
            }
    return rows


def middle(it: Measurement) -> float:
    """The median of its seconds."""
    return sorted(it.seconds)[len(it.seconds) // 2]


def whole(found: dict[str, Measurement]) -> dict[str, float]:
    """How many times as long a step with its views takes USB."""
    usbs, ours = (
        middle(found[step]) + middle(found[views])
        for step, views in (("usb", "usb_views"), ("ours", "our_views"))
    )
    return {"with_views_times_ours": round(usbs / ours, 3)}


def _network(config: RunConfig) -> FaceNetwork:
    classes = config.data.num_classes
    return build_network(config.network.backbone, classes, pretrained=False, seed=config.seed)


def _noise(config: RunConfig) -> StepBatch:
    generator = torch.Generator().manual_seed(config.seed)
    n, m = config.training.batch_size_fer, config.training.batch_size_fr
    side = config.data.view_size
    x_fer, x_fr, x_fr_aug = (
        torch.randn(number, 3, side, side, generator=generator) for number in (n, m, m)
    )
    return StepBatch(x_fer, torch.arange(n) % config.data.num_classes, x_fr, x_fr_aug)


def _bytes(network: nn.Module, average: nn.Module, batch: StepBatch) -> int:
    tensors = [*network.state_dict().values(), *average.state_dict().values()]
    tensors += list(network.parameters())  # SGD keeps a velocity of each
    return sum(t.nbytes for t in [*tensors, batch.x_fer, batch.x_fr, batch.x_fr_aug])


# --- run ---


@dataclass
class Watch:
    """Wall and computing time since it was made, in s."""

    wall: float = 0.0
    cpu: float = 0.0

    def __post_init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def read(self, images: int) -> dict[str, float]:
        """With how many images that were a second."""
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        return {
            "wall_seconds": round(wall, 1),
            "cpu_seconds": round(cpu, 1),
            "images_per_second": round(images / wall, 1),
            "images_per_cpu_second": round(images / cpu, 1),
        }


def seen(config: RunConfig) -> int:
    """Images of a run: a labelled and an unlabelled batch in each step, a view more or less."""
    training = config.training
    return training.num_steps * (training.batch_size_fer + training.batch_size_fr)


def accuracies(config: RunConfig, network: nn.Module, test: DecodedFaces) -> dict[str, float]:
    """Of a network on PublicTest, in percent."""
    found = evaluate_network(
        network,
        test,
        view_size=config.data.view_size,
        num_classes=config.data.num_classes,
        workers=config.data.num_workers,
    )
    keys = ("overall_accuracy", "mean_class_accuracy", "std_class_accuracy")
    return {key: round(found[key], 2) for key in keys}


def our_run(config: RunConfig, phase: Phase, test: DecodedFaces) -> dict[str, Any]:
    """The library's own loop."""
    network = deepcopy(phase.networks["base"])
    assert isinstance(network, FaceNetwork)
    networks: dict[str, nn.Module] = {"base": network}
    main = replace(phase, networks=networks)
    plan = Plan(networks, "base", [main], {"base": deepcopy(network)})
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = restore_state(Path(folder), plan)
        watch = Watch()

        def validate() -> Validation:
            found.update(watch.read(seen(config)))  # before anything is evaluated
            return Validation({"validation": {}}, 0.0)

        take_steps(config, plan, place, folder, validate)
    found["latest"] = accuracies(config, network, test)
    found["averaged"] = accuracies(config, plan.averages["base"], test)
    return found


def usb_run(
    config: RunConfig, phase: Phase, test: DecodedFaces, *, matched: bool
) -> dict[str, Any]:
    """USB's loop on the same batches. They lie in memory with channels last, which those of its own
    loaders do not, and which makes it faster: `speed` has both layouts.

    Args:
        matched: by our optimiser and rates, and with a pass each.
    """
    network = phase.networks["base"]
    assert isinstance(network, FaceNetwork)
    # USB leaves the layout of weights as torch has it.
    network = deepcopy(network).to(memory_format=torch.contiguous_format)
    found: dict[str, Any] = {}

    def validate(made: Any) -> float:
        found.update(watch.read(seen(config)))
        return 0.0

    with tempfile.TemporaryDirectory() as folder:
        made = usb.algorithm(
            "fixmatch",
            network,
            optimiser=our_optimiser(config, phase) if matched else None,
            batches=map(peer_steps.both_views, batches(phase)),
            validate=validate,
            save_dir=folder,
            use_cat=not matched,
            **settings(config),
        )
        watch = Watch()
        with usb.silent():
            made.train()
    found["latest"] = accuracies(config, made.model.network, test)
    made.ema.apply_shadow()
    found["averaged"] = accuracies(config, made.model.network, test)
    return found


def runs(
    config: RunConfig,
    root: Path | None,
    chosen: Sequence[str],
    store: Callable[[dict[str, Any]], None],
) -> None:
    """Some of SIDES, one after the other, each from the same weights; `store` is handed what there
    is after each."""
    data = read_run_data(config.data, config.seed, root)
    test = DecodedFaces(data.test, config.data.stored_size, in_memory=True)
    told: dict[str, Any] = {
        "config": CONFIG,
        "changes": list(CHANGES),
        "num_steps": config.training.num_steps,
        "seed": config.seed,
        "test_images": len(test),
        "sides": {},
    }
    with threads(config.compute, config.network.backbone, torch.device("cpu")):
        phase = main_phase(config, data, warm=True)
        told["after_warm_start"] = accuracies(config, phase.networks["base"], test)
        sides: dict[str, Callable[[], dict[str, Any]]] = {
            "ours": lambda: our_run(config, phase, test),
            "usb": lambda: usb_run(config, phase, test, matched=False),
            "usb_matched": lambda: usb_run(config, phase, test, matched=True),
        }
        for name in chosen:
            told["sides"][name] = sides[name]()
            print(name, told["sides"][name], flush=True)
            store(told)


def joined(run: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """A run's part with those sides that were stored before of a run with the same settings."""
    same = all(before.get(key) == run[key] for key in run.keys() - {"sides"})
    sides = {**(before["sides"] if same else {}), **run["sides"]}
    both = {"ours", "usb"} <= sides.keys()
    return run | {"sides": sides} | (faster(sides) if both else {})


def faster(found: dict[str, dict[str, Any]]) -> dict[str, float]:
    """How many times as many images a second ours takes as USB as it comes."""
    return {
        f"{key}_ratio": round(found["ours"][key] / found["usb"][key], 3)
        for key in ("images_per_second", "images_per_cpu_second")
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--sides", choices=SIDES, nargs="+", default=list(SIDES), help="of a run")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--steps", type=int, default=250, help="of a run")
    parser.add_argument("--turns", type=int, default=15, help="steps of each way, for the speed")
    parser.add_argument("--clock", choices=CLOCKS, default="cpu", help="of the speed")
    parser.add_argument("--json", type=Path, help="file to write to")
    arguments = parser.parse_args()
    config, root = settled(arguments.steps), data_root(arguments.data_root)
    made_with = environment() | {"semilearn": usb.installed()}
    made_with["machine"]["threads"] = config.compute.threads

    def store(part: str, told: dict[str, Any]) -> None:
        path = arguments.json
        if path:
            before = read_json(path) if path.exists() else {}
            if part == "run":
                told = joined(told, before.get("run", {}))
            write_json(path, before | {part: told | {"environment": made_with}})

    if "speed" in arguments.only:  # first: it forks, and nothing may have been computed before
        told = speed(config, root, arguments.turns, arguments.clock)
        print(told)
        store("speed", told)
    if "losses" in arguments.only:
        store("losses", peer_steps.all_compared())
    if "run" in arguments.only:
        runs(config, root, arguments.sides, partial(store, "run"))


if __name__ == "__main__":
    main()
