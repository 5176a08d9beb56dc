"""The arms of a comparison, read from a file, and how long each trains at an equal budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic import dataclasses as checked

from face2exp_lib.config import RunConfig, find_config, load_config
from face2exp_lib.data.sources import STRICT
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.training.phases import NO_PASSES
from face2exp_lib.training.plans import Plan

Budget = Literal["own", "compute", "updates"]
Name = Annotated[str, Field(pattern=r"^[\w.-]+$")]  # part of a folder's name
Changes = dict[str, Any]

SIDE_PHASES = ("warm_start", "finetune")  # training.num_steps does not set their length


@checked.dataclass(frozen=True, config=STRICT)
class Comparison:
    """What is compared.

    Attributes:
        config: the run that arms are changes of.
        arms: name -> keys to change, as in `face2exp train --set`; `config` among them names an
            arm's own.
        reference: the arm that the others are tested against; None takes the first.
        budget_of: the arm whose own length sets everybody's; None takes the first.
        budgets: `compute`, as many image passes (`Passes.cost`) as that arm; `updates`, as many
            training steps; `own`, each arm as its keys have it. Warm start and fine-tune keep their
            lengths and count; what is left goes to `training.num_steps`. Every arm is validated as
            often as `budget_of`, at the same shares of its run, so none has more checkpoints to
            choose from.
        seeds: one run of each arm and budget for each.
        trials: name -> changes, of which every arm takes the one with the highest validation class
            mean in a run of `search_seed` at the first budget. The same for all arms, so none is
            searched harder; empty searches nothing.
        search_seed: none of `seeds`.
        split: evaluated at the end; `test` is read once a run.
    """

    config: str
    arms: dict[Name, Changes] = Field(min_length=1)
    reference: str | None = None
    budget_of: str | None = None
    budgets: tuple[Budget, ...] = Field(default=("own",), min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**32)], ...] = Field(
        default=(0, 1, 2), min_length=1
    )
    trials: dict[Name, Changes] = Field(default_factory=dict)
    search_seed: int = Field(default=100, ge=0, lt=2**32)
    split: Literal["val", "test"] = "test"

    @model_validator(mode="after")
    def _consistent(self) -> "Comparison":
        for key in ("reference", "budget_of"):
            name = getattr(self, key)
            if name is not None and name not in self.arms:
                raise ValueError(f"{key} {name} is no arm: take one of {', '.join(self.arms)}")
        for key in ("seeds", "budgets"):
            values = getattr(self, key)
            if len(set(values)) < len(values):
                raise ValueError(f"{key} {list(values)} name one twice")
        if self.trials and self.search_seed in self.seeds:
            raise ValueError(f"search_seed {self.search_seed} is one of seeds: take another")
        return self

    @property
    def reference_arm(self) -> str:
        return self.reference or next(iter(self.arms))

    @property
    def budget_arm(self) -> str:
        return self.budget_of or next(iter(self.arms))


COMPARISON = TypeAdapter(Comparison)


@dataclass(frozen=True)
class Length:
    """What a run takes: training steps and their cost, in forward passes of one image."""

    steps: int
    cost: float


@dataclass(frozen=True)
class PlanLength:
    """A plan's length, taken apart: what `training.num_steps` sets, and the rest."""

    step_cost: float
    rest: Length
    num_steps: int

    @property
    def whole(self) -> Length:
        """Of the run as its config has it."""
        return Length(
            self.rest.steps + self.num_steps, self.rest.cost + self.num_steps * self.step_cost
        )


def read_comparison(
    paths: Sequence[Path | str],
    methods: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
) -> Comparison:
    """Read a comparison's file, or make one of run configs, whose methods are then the arms.

    Args:
        paths: one comparison, or run configs. A config that is named in a comparison is looked up
            beside it, then among the packaged ones.
        methods: of run configs: compare these, in place of the configs' own.
        changes: of the comparison's own keys.

    Raises:
        Face2ExpError: naming the key at fault.
    """
    files = [Path(path) for path in paths]
    contents = [_read(path) for path in files]
    content = contents[0]
    if not any("arms" in one for one in contents):
        content = _of_run_configs(files, methods)
    elif len(files) > 1 or methods:
        raise Face2ExpError(
            f"{files[0]}: a comparison names its arms and methods itself: give one file alone"
        )
    try:
        comparison = COMPARISON.validate_python({**content, **(changes or {})})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "(whole file)"
        problem = first["msg"].removeprefix("Value error, ")
        raise Face2ExpError(f"{files[0]}: {key}: {problem}") from error
    beside = files[0].parent / comparison.config
    return replace(comparison, config=str(beside)) if beside.is_file() else comparison


def _read(path: Path) -> dict[str, Any]:
    path = find_config(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        text = " ".join(str(error).split())
        raise Face2ExpError(f"{path}: not readable as YAML: {text}") from error
    return content if isinstance(content, dict) else {}


def _of_run_configs(paths: Sequence[Path], methods: Sequence[str]) -> dict[str, Any]:
    arms: dict[str, Changes] = {}
    for path in paths:
        own = {"config": str(path)}
        if not methods:
            arms[path.stem] = own
        for method in methods:
            arms[method if len(paths) == 1 else f"{path.stem}-{method}"] = {**own, "method": method}
    return {"config": str(paths[0]), "arms": arms}


def arm_config(comparison: Comparison, arm: str, trial: Changes, seed: int) -> RunConfig:
    """The config of one run: the comparison's, changed by the arm, then by the trial.

    Raises:
        Face2ExpError: naming the key at fault.
    """
    changes = {**comparison.arms[arm], **trial, "seed": seed}
    path = Path(changes.pop("config", comparison.config))
    return load_config(path, [f"{key}={_flow(value)}" for key, value in changes.items()])


def _flow(value: Any) -> str:
    """A value as one line of YAML."""
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).partition("\n")[0]


def plan_length(plan: Plan) -> PlanLength:
    """How long a planned run is."""
    side = [phase for phase in plan.phases if phase.name in SIDE_PHASES]
    main = [phase for phase in plan.phases if phase.name not in SIDE_PHASES]
    rest = sum((phase.all_passes for phase in side), NO_PASSES)
    rest += sum((phase.opening_passes for phase in main), NO_PASSES)
    return PlanLength(
        step_cost=main[0].passes.cost,
        rest=Length(sum(phase.num_steps for phase in side), rest.cost),
        num_steps=sum(phase.num_steps for phase in main),
    )


def at_budget(
    config: RunConfig, length: PlanLength, budget: Budget, given: Length, validations: int
) -> RunConfig:
    """A run's config at a budget: the most steps of its method that keep within it.

    Args:
        config: the run's.
        length: of its plan.
        budget: which of the two numbers of `given` binds.
        given: the length of the arm that sets the budget.
        validations: how often it validates.

    Raises:
        Face2ExpError: if warm start, fine-tune and the openings of phases take all of it.
    """
    if budget == "own":
        return config
    if budget == "updates":
        num_steps = given.steps - length.rest.steps
    else:
        num_steps = int((given.cost - length.rest.cost) / length.step_cost)
    if num_steps < 1:
        raise Face2ExpError(
            f"method {config.method}: what it does beside its own steps, such as the warm start, "
            f"takes all of the budget of {budget}: shorten that, or lengthen the arm that sets it"
        )
    every = -(-(length.rest.steps + num_steps) // validations)
    training = replace(config.training, num_steps=num_steps, eval_every_steps=every)
    return replace(config, training=training)
