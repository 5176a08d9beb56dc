"""A run's configuration: typed, documented, checked when it is made; unknown keys are errors."""

import hashlib
import os
import reprlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from face2exp_lib.augmentation.patches import AugOptions
from face2exp_lib.data.sources import STRICT
from face2exp_lib.methods.class_balanced import ClassBalancedOptions
from face2exp_lib.methods.cost import Method
from face2exp_lib.methods.fixmatch import FixMatchOptions
from face2exp_lib.methods.meta_face2exp import MetaOptions
from face2exp_lib.methods.meta_pseudo_labels import MetaPseudoLabelsOptions
from face2exp_lib.methods.noisy_student import NoisyStudentOptions
from face2exp_lib.methods.passes import Compute
from face2exp_lib.methods.pseudo_label import PseudoLabelOptions
from face2exp_lib.methods.scn import ScnOptions
from face2exp_lib.methods.uda import UdaOptions
from face2exp_lib.run_options import Data, Network, TelemetryOptions, Training
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.resources import shipped


@dataclass(frozen=True, config=STRICT)
class RunConfig:
    """Everything that decides a run's result, beside the images, the versions and the machine.

    Attributes:
        name: of the experiment; the default run directory is runs/<name>-<method>-seed<seed>.
        method: `meta` (Meta-Face2Exp), `supervised` (the baseline on the same labels) or a rival;
            `plans` has them on a page.
        seed: of weights, draws, batches and views.
        device: `auto` takes CUDA, then Apple's MPS, then the CPU.
        meta: loss weights and readings of the paper.
        class_balanced, scn, pseudo_label, uda, fixmatch, noisy_student, meta_pseudo_labels: the
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
    pseudo_label: PseudoLabelOptions = Field(default_factory=PseudoLabelOptions)
    uda: UdaOptions = Field(default_factory=UdaOptions)
    fixmatch: FixMatchOptions = Field(default_factory=FixMatchOptions)
    noisy_student: NoisyStudentOptions = Field(default_factory=NoisyStudentOptions)
    meta_pseudo_labels: MetaPseudoLabelsOptions = Field(default_factory=MetaPseudoLabelsOptions)
    aug: AugOptions = Field(default_factory=AugOptions)
    compute: Compute = Field(default_factory=Compute)
    telemetry: TelemetryOptions = Field(default_factory=TelemetryOptions)
    method: Method = "meta"
    seed: int = Field(default=0, ge=0, lt=2**32)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"

    @model_validator(mode="after")
    def _consistent(self) -> "RunConfig":
        if self.telemetry.image_feedback_every and self.method != "meta":
            raise ValueError(
                f"telemetry.image_feedback_every: method {self.method} has no f_i: set it to 0"
            )
        return self


RUN_CONFIG = TypeAdapter(RunConfig)


def load_config(path: Path | str, changes: list[str] | None = None) -> RunConfig:
    """Read a YAML file, change some keys, check the whole.

    Args:
        path: the file; a bare name that is no file is looked up among the packaged configs.
        changes: `key=value`, dots between levels, e.g. `training.num_steps=100`; values are YAML.

    Raises:
        Face2ExpError: naming the file or the key at fault.
    """
    path = Path(path)
    path = find_config(path)
    try:
        content = _parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Face2ExpError(f"{path}: not readable as YAML: {_one_line(error)}") from error
    if not isinstance(content, dict):
        raise Face2ExpError(f"{path}: holds no configuration: expected `key: value` lines")
    for change in changes or []:
        _change(content, change)
    try:
        return RUN_CONFIG.validate_python(content)
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


def dump_config(config: RunConfig) -> str:
    """The configuration as YAML that `load_config` reads back to an equal one."""
    return yaml.safe_dump(asdict(config), sort_keys=False)


def config_digest(config: RunConfig) -> str:
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
