"""A run's configuration: typed, documented, checked when it is made; unknown keys are errors."""

import hashlib
import os
import reprlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass

from face2exp_lib.augmentation.patches import AugOptions
from face2exp_lib.data.sources import STRICT, Data
from face2exp_lib.methods import METHODS
from face2exp_lib.methods.ada_cm import AdaCmOptions
from face2exp_lib.methods.cake import CakeOptions
from face2exp_lib.methods.class_balanced import ClassBalancedOptions
from face2exp_lib.methods.dmue import DmueOptions
from face2exp_lib.methods.fixmatch import FixMatchOptions
from face2exp_lib.methods.freematch import FreeMatchOptions
from face2exp_lib.methods.gacnn import GacnnOptions
from face2exp_lib.methods.ipa2lt import Ipa2ltOptions
from face2exp_lib.methods.ldl_alsg import LdlAlsgOptions
from face2exp_lib.methods.mean_teacher import MeanTeacherOptions
from face2exp_lib.methods.meta_options import MetaOptions
from face2exp_lib.methods.meta_pseudo_labels import MetaPseudoLabelsOptions
from face2exp_lib.methods.noisy_student import NoisyStudentOptions
from face2exp_lib.methods.passes import Compute
from face2exp_lib.methods.pseudo_label import PseudoLabelOptions
from face2exp_lib.methods.ran import RanOptions
from face2exp_lib.methods.remixmatch import ReMixMatchOptions
from face2exp_lib.methods.scn import ScnOptions
from face2exp_lib.methods.uda import UdaOptions
from face2exp_lib.networks import FACENET, FACENET_WEIGHTS, Backbone
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.resources import shipped

PUBLISHED = ("none", "imagenet", *FACENET_WEIGHTS)  # of `network.pretrained`; others are paths
FLOAT32 = 1e38  # torch refuses a rate that its numbers cannot hold


def _as_name(value: Any) -> Any:
    """Configs of older versions say whether ImageNet's weights are taken."""
    return {False: "none", True: "imagenet"}[value] if isinstance(value, bool) else value


@dataclass(frozen=True, config=STRICT)
class Network:
    """Architecture of both networks.

    Attributes:
        backbone: resnet50 (paper), small for CPU work, wide_resnet28_2 for images of 32 to 64 px,
            or any classification model of torchvision by its name
            (`torchvision.models.list_models`).
        pretrained: what both begin from but for their last layers: `none`, random weights (also
            false); `imagenet`, torchvision's (also true); `vggface2` or `casia-webface`,
            facenet-pytorch's for the backbone inception_resnet_v1; or a path, of the folder of a
            run (`face2exp pretrain` or another), whose best checkpoint is taken, or of a
            `.safetensors` file that `face2exp export` wrote.
    """

    backbone: Backbone = "resnet50"
    pretrained: Annotated[str, BeforeValidator(_as_name), Field(min_length=1)] = "none"

    @model_validator(mode="after")
    def _consistent(self) -> "Network":
        if self.pretrained in FACENET_WEIGHTS and self.backbone != FACENET:
            raise ValueError(
                f"pretrained {self.pretrained} are weights of {FACENET}, and the backbone is "
                f"{self.backbone}: set one of the two"
            )
        return self


@dataclass(frozen=True, config=STRICT)
class Training:
    """The schedule. Learning rates decay by a cosine to 0 within each phase but the fine-tune.

    Attributes:
        num_steps: T of Algorithm 1; for the supervised baseline, its number of updates.
        batch_size_fer, batch_size_fr: images of each kind in a step (paper: 32 in all or of
            each; it does not say).
        eta_b, eta_a: initial learning rates of B and A.
        eta_rise_steps: over so many first steps of a phase, but the fine-tune, the rates rise in a
            line (Goyal et al.: Accurate, Large Minibatch SGD, 2017), which spares a backbone that
            knows something while the last layer is new; 0, as in the paper, not at all.
        eta_last: share of the rates that the cosine ends at; 0, as in the paper. FixMatch's
            schedule ends at 0.2.
        momentum_b, momentum_a: of SGD; the paper names no optimiser. With 0 for A, theta_A'
            is line 7's.
        weight_decay: of both.
        batches_fer: `shuffled`, each labelled image once a pass, or `class_balanced`, every class
            alike in every batch however many images it has (for labels that are not balanced).
        view_fer: views of the labelled images; the paper has `conventional`.
        warm_start_steps: supervised updates of A and B, each from its own initial weights, before
            step 0. The paper shows an initial A trained on the long-tailed labels, of no length.
            Rivals that learn from unlabelled faces begin with it, too, see `plans`.
        warm_start_labels: `balanced` (D_FER) or `long_tailed` (D'_FER: costs all its labels).
        finetune_steps: updates of A on D_FER after step T; for Meta Pseudo Labels, of its student.
        eta_finetune: fixed learning rate of the fine-tune.
        ema: decay of a moving average of each network's weights, say 0.999, which validation, the
            best checkpoint and whatever is made of it use in their place; 0, as in the paper,
            averages nothing. The networks that learn and name pseudo labels are the same in any
            case. Each phase begins an average of its own, see `training.averages`.
        label_smoothing: share of each true label that L_s spreads over all classes, in warm start,
            fine-tune and every method's own phase; 0, as in the paper, none. The labelled loss that
            f is made of stays whole, and Meta Pseudo Labels has an option of its own.
        eval_every_steps: validation, and a new best checkpoint if it is one.
        checkpoint_every_steps: state to resume from.
        keep_checkpoints: how many of these are kept, the latest, and one more until the step after
            the last has gone well; the best is kept in any case.
    """

    num_steps: int = Field(gt=0)
    batch_size_fer: int = Field(default=32, gt=1, le=2**16)
    batch_size_fr: int = Field(default=32, gt=1, le=2**16)
    eta_b: float = Field(default=1e-2, ge=0, le=FLOAT32)
    eta_a: float = Field(default=1e-3, ge=0, le=FLOAT32)
    eta_rise_steps: int = Field(default=0, ge=0)
    eta_last: float = Field(default=0.0, ge=0, le=1)
    momentum_b: float = Field(default=0.0, ge=0, lt=1)
    momentum_a: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0, le=FLOAT32)
    batches_fer: Literal["shuffled", "class_balanced"] = "shuffled"
    view_fer: Literal["conventional", "extensive"] = "conventional"
    warm_start_steps: int = Field(default=0, ge=0)
    warm_start_labels: Literal["balanced", "long_tailed"] = "balanced"
    finetune_steps: int = Field(default=0, ge=0)
    eta_finetune: float = Field(default=1e-5, ge=0, le=FLOAT32)
    ema: float = Field(default=0.0, ge=0, lt=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    eval_every_steps: int = Field(default=1000, gt=0)
    checkpoint_every_steps: int = Field(default=1000, gt=0)
    keep_checkpoints: int = Field(default=1, gt=0)


@dataclass(frozen=True, config=STRICT)
class TelemetryOptions:
    """What a run records beside its losses. None of it changes what is learnt, not by a bit.

    Attributes:
        pseudo_labels: a table `pseudo_labels/` with a row for each unlabelled image of each step:
            its pseudo label, how confident it was, what the network that learnt it took the image
            for. `face2exp analyse` reads it.
        image_feedback_every: in every so many steps, from the first, each unlabelled image's share
            f_i of f is measured and added to the table (method meta alone). Costs a pass over both
            batches, which a run's budget does not count. 0: never.
        distance_images: at each validation, how far apart each network's features of as many FER
            and FR images are (MMD^2). 0: not measured; nor where the FR faces are streamed.
        tensorboard: the numbers of `metrics.jsonl` as TensorBoard events, too
            (needs the extra `tensorboard`).
    """

    pseudo_labels: bool = True
    image_feedback_every: int = Field(default=0, ge=0)
    distance_images: int = Field(default=200, ge=0, le=10_000)
    tensorboard: bool = False


def _is_method(name: str) -> str:
    if name not in METHODS:
        raise ValueError(f"no method '{name}': take one of {', '.join(METHODS)}")
    return name


@dataclass(frozen=True, config=STRICT)
class RunConfig:
    """Everything that decides a run's result, beside the images, the versions and the machine.

    Attributes:
        name: of the experiment; the default run directory is runs/<name>-<method>-seed<seed>.
        method: `meta` (Meta-Face2Exp), `supervised` (the baseline on the same labels) or a rival;
            `methods.METHODS` has them all, and `training.plans` their phases on a page.
        seed: of weights, draws, batches and views.
        device: `auto` takes CUDA, then Apple's MPS, then the CPU.
        meta: loss weights and readings of the paper.
        class_balanced, scn, pseudo_label, uda, fixmatch, noisy_student, meta_pseudo_labels,
        mean_teacher, remixmatch, freematch, ada_cm, cake, dmue, ran, gacnn, ldl_alsg, ipa2lt: the
            rivals' own options, each with its paper's defaults; those of methods that are not run
            have no effect.
        aug: readings of Aug(x_FR).
        compute: precision, micro-batches and compilation of the passes.
        telemetry: what is recorded beside the losses.
    """

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]  # part of a folder's name
    data: Data
    training: Training
    network: Network = Field(default_factory=Network)
    meta: MetaOptions = Field(default_factory=MetaOptions)
    class_balanced: ClassBalancedOptions = Field(default_factory=ClassBalancedOptions)
    scn: ScnOptions = Field(default_factory=ScnOptions)
    cake: CakeOptions = Field(default_factory=CakeOptions)
    dmue: DmueOptions = Field(default_factory=DmueOptions)
    ran: RanOptions = Field(default_factory=RanOptions)
    gacnn: GacnnOptions = Field(default_factory=GacnnOptions)
    ldl_alsg: LdlAlsgOptions = Field(default_factory=LdlAlsgOptions)
    ipa2lt: Ipa2ltOptions = Field(default_factory=Ipa2ltOptions)
    pseudo_label: PseudoLabelOptions = Field(default_factory=PseudoLabelOptions)
    uda: UdaOptions = Field(default_factory=UdaOptions)
    fixmatch: FixMatchOptions = Field(default_factory=FixMatchOptions)
    mean_teacher: MeanTeacherOptions = Field(default_factory=MeanTeacherOptions)
    remixmatch: ReMixMatchOptions = Field(default_factory=ReMixMatchOptions)
    freematch: FreeMatchOptions = Field(default_factory=FreeMatchOptions)
    ada_cm: AdaCmOptions = Field(default_factory=AdaCmOptions)
    noisy_student: NoisyStudentOptions = Field(default_factory=NoisyStudentOptions)
    meta_pseudo_labels: MetaPseudoLabelsOptions = Field(default_factory=MetaPseudoLabelsOptions)
    aug: AugOptions = Field(default_factory=AugOptions)
    compute: Compute = Field(default_factory=Compute)
    telemetry: TelemetryOptions = Field(default_factory=TelemetryOptions)
    method: Annotated[str, AfterValidator(_is_method)] = "meta"
    seed: int = Field(default=0, ge=0, lt=2**32)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"

    @model_validator(mode="after")
    def _consistent(self) -> "RunConfig":
        if self.telemetry.image_feedback_every and not METHODS[self.method].image_feedback:
            raise ValueError(
                f"telemetry.image_feedback_every: method {self.method} has no f_i: set it to 0"
            )
        if self.data.unlabelled is None and METHODS[self.method].unlabelled:
            raise ValueError(
                f"data.unlabelled: missing, and method {self.method} learns from unlabelled faces: "
                "name some, or set method to one that learns from labels alone, such as supervised"
            )
        return self


RUN_CONFIG = TypeAdapter(RunConfig)
Config = TypeVar("Config")


def load_config(path: Path | str, changes: list[str] | None = None) -> RunConfig:
    """Read a YAML file, change some keys, check the whole.

    Args:
        path: the file; a bare name that is no file is looked up among the packaged configs.
        changes: `key=value`, dots between levels, e.g. `training.num_steps=100`; values are YAML.

    Raises:
        Face2ExpError: naming the file or the key at fault.
    """
    path, content = read_yaml(path, changes)
    if is_pretraining(content):
        raise Face2ExpError(f"{path}: is a pre-training's: `face2exp pretrain` takes it")
    return checked(path, content, RUN_CONFIG)


def is_pretraining(content: dict[str, Any]) -> bool:
    """Whether a file's keys are those of a pre-training, whose data are faces of one set."""
    data = content.get("data")
    return isinstance(data, dict) and "faces" in data


def read_yaml(path: Path | str, changes: list[str] | None) -> tuple[Path, dict[str, Any]]:
    """The file that `load_config` means, and its keys, some of them changed.

    Raises:
        Face2ExpError: naming the file or the change at fault.
    """
    path = find_config(path)
    try:
        content = _parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Face2ExpError(f"{path}: not readable as YAML: {_one_line(error)}") from error
    if not isinstance(content, dict):
        raise Face2ExpError(f"{path}: holds no configuration: expected `key: value` lines")
    for change in changes or []:
        _change(content, change)
    return path, content


def checked(path: Path | str, content: dict[str, Any], adapter: TypeAdapter[Config]) -> Config:
    """A file's keys as a configuration.

    Raises:
        Face2ExpError: naming the file and the first key at fault.
    """
    try:
        return adapter.validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "(whole file)"
        problem = {
            "unexpected_keyword_argument": "unknown key: check its spelling and level",
            "missing": "missing: add it",
            "missing_argument": "missing: add it",
            # reprlib: a few YAML aliases can stand for more text than the memory holds
        }.get(first["type"], f"{first['msg']}, got {reprlib.repr(first['input'])[:60]}")
        if first["type"] == "value_error":
            problem = first["msg"].removeprefix("Value error, ")
        raise Face2ExpError(f"{path}: {key}: {problem}") from error


def dump_config(config: Any) -> str:
    """The configuration as YAML that `load_config` reads back to an equal one."""
    return yaml.safe_dump(asdict(config), sort_keys=False)


def config_digest(config: Any) -> str:
    """The configuration in 16 hexadecimal digits."""
    return hashlib.blake2b(dump_config(config).encode(), digest_size=8).hexdigest()


def data_root(option: Path | str | None) -> Path | None:
    """The data root: the given one, else FACE2EXP_DATA, else None.

    Raises:
        Face2ExpError: if it is set and is no folder.
    """
    text = option or os.environ.get("FACE2EXP_DATA")
    named = Path(text).expanduser() if text else None
    if named is not None and not named.is_dir():
        origin = "--data-root" if option else "FACE2EXP_DATA"
        raise Face2ExpError(
            f"{origin}: {named} is no folder: give the one that holds the data sets"
        )
    return named


def find_config(path: Path | str) -> Path:
    """A YAML file, or the packaged one of that name."""
    path = Path(path)
    for candidate in (path, shipped("configs") / path):
        if candidate.is_file():
            return candidate
    raise Face2ExpError(f"{path}: no such config: give a YAML file like those in configs/")


def _change(content: dict[str, Any], change: str) -> None:
    key, equals, value = change.partition("=")
    if not equals:
        raise Face2ExpError(f"--set {change}: expected key=value, e.g. training.num_steps=100")
    *parents, last = key.split(".")
    level = content
    for parent in parents:
        level = level.setdefault(parent, {})
        if not isinstance(level, dict):
            raise Face2ExpError(f"--set {change}: '{parent}' holds a value, not keys")
    try:
        level[last] = _parse(value)
    except ValueError as error:
        raise Face2ExpError(f"--set {change}: not a YAML value: {_one_line(error)}") from error


def _parse(text: str) -> Any:
    """The value of YAML text.

    Raises:
        ValueError: whatever is wrong with it.
    """
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, IndexError, RecursionError) as error:  # the last two: PyYAML's gaps
        raise ValueError(str(error)) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
