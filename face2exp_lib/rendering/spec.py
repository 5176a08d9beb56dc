"""`FaceSpec`: everything that a rendered set depends on, checked when it is made."""

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from face2exp_lib.rendering.expressions import CLASSES
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.seeding import numpy_generator

SMALLEST_SIZE, LARGEST_SIZE = 16, 1024
SMALLEST_WEIGHT, LARGEST_WEIGHT = 1e-9, 1e9  # between them no sum or quotient of weights overflows


class SpecError(Face2ExpError):
    """A spec that cannot be rendered; the message names the field and the way out."""


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, np.integer) else value


Integer = Annotated[int, BeforeValidator(_plain)]  # numpy's, too, but no true, "3" or 3.0


def even_classes() -> dict[str, float]:
    """The seven basic expressions, all alike."""
    return dict.fromkeys(CLASSES[:7], 1.0)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", strict=True))
class FaceSpec:
    """A set of rendered faces.

    Image `index` is a function of the spec without `count`: a set of 1,000 is the beginning of
    a set of 3,000. Identity `number` is a function of `seed` alone: sets of one seed whose ranges
    `first_identity .. first_identity + num_identities - 1` overlap show the same people.
    """

    seed: Annotated[Integer, Field(ge=0, lt=2**32)] = 0
    """With `purpose` and the index, the source of all randomness."""
    purpose: Annotated[str, Field(min_length=1, max_length=64)] = "faces"
    """Name of the set; two sets of different purpose share no image."""
    count: Annotated[Integer, Field(ge=1, le=10_000_000)] = 1
    """Number of images."""
    size: Annotated[Integer, Field(ge=SMALLEST_SIZE, le=LARGEST_SIZE)] = 64
    """Width and height in pixels."""
    classes: dict[str, float] = field(default_factory=even_classes)
    """Class name, or `dominant+other` for a compound, -> weight; the shares of images
    follow the weights to within one image."""
    num_identities: Annotated[Integer, Field(ge=1, le=10_000_000)] = 100
    """People in the set, drawn anew for each image; at least as many as classes."""
    first_identity: Annotated[Integer, Field(ge=0, lt=2**31)] = 0
    """Number of the first of them."""
    intensity: Annotated[tuple[float, float], Field(strict=False)] = (0.3, 1.0)
    """Range of expression strength, 1 is the prototype in full; between 0 and 1.3."""
    idle: Annotated[float, Field(ge=0, le=1)] = 0.15
    """Size of movements that belong to no expression (ARKit weight)."""
    pose: Annotated[float, Field(ge=0, le=2)] = 1.0
    """Scale of head turns; 1 is 17, 8 and 6 degrees of yaw, pitch and roll (standard deviation)."""
    light: Annotated[float, Field(ge=0, le=2)] = 1.0
    """Scale of the variation of light direction, colour and exposure."""
    occlusion: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Part of the images in which glasses, a hat or a hand cover part of the face."""
    label_noise: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Part of the images whose `expression` is another class of the set than the one shown."""

    @model_validator(mode="wrap")
    @classmethod
    def _checked(cls, values: Any, make: Callable[[Any], "FaceSpec"]) -> "FaceSpec":
        # A SpecError, unlike a ValueError, leaves pydantic as it is.
        try:
            spec = make(values)
        except ValidationError as error:
            raise SpecError(_sentence(error)) from error
        spec._check_together()
        return spec

    def _check_together(self) -> None:
        """What no field can tell alone.

        Raises:
            SpecError: one sentence on the first thing at fault.
        """
        for name, weight in self.classes.items():
            _check_class(name)
            if weight != 0 and not SMALLEST_WEIGHT <= weight <= LARGEST_WEIGHT:
                raise SpecError(
                    f"face spec: classes: weight {weight} of '{name}' must be 0 or a positive "
                    f"number from {SMALLEST_WEIGHT:g} to {LARGEST_WEIGHT:g}"
                )
        if not self.shown:
            raise SpecError("face spec: classes: give at least one class a weight above 0")
        if self.num_identities < len(self.shown):
            raise SpecError(
                f"face spec: num_identities: {self.num_identities} for {len(self.shown)} classes: "
                "give at least one identity per class, or fewer classes"
            )
        low, high = self.intensity
        if not 0 <= low <= high <= 1.3:
            raise SpecError(
                f"face spec: intensity: ({low}, {high}) must be two rising numbers between 0 "
                "and 1.3"
            )
        if self.label_noise > 0 and len(self.dominant_classes) < 2:
            raise SpecError(
                "face spec: label_noise: a wrong label needs a second class; set it to 0"
            )

    @property
    def shown(self) -> dict[str, float]:
        """The classes and compounds with a weight above 0."""
        return {name: weight for name, weight in self.classes.items() if weight > 0}

    @property
    def dominant_classes(self) -> tuple[str, ...]:
        """Class names that occur as a label, in the project's order."""
        occurring = {name.split("+")[0] for name in self.shown}
        return tuple(name for name in CLASSES if name in occurring)

    def generator(self, what: str, index: int) -> np.random.Generator:
        """The numbers that one aspect of one image is drawn from."""
        return numpy_generator(self.seed, f"faces/{self.purpose}/{what}", index)

    def mixture(self, index: int) -> str:
        """The class or compound that image `index` shows: seats given out after Sainte-Lague.

        The first images, however many, hold the classes in the proportion of their weights.
        """
        weights = list(self.shown.values())
        shares = np.array(weights) / sum(weights)
        # Class k claims its seats at (0.5, 1.5, ...) / share k, and image `index` goes to the claim
        # of that rank. Claims rank as high as they are, give or take one a class: it is enough to
        # sort those about `index`, and to count those before.
        margin = 2 * len(shares)
        first = np.maximum(0, np.ceil((index - margin) * shares - 0.5)).astype(np.int64)
        last = np.ceil((index + margin) * shares).astype(np.int64)
        owner = np.repeat(np.arange(len(shares)), last - first + 1)
        seat = np.concatenate([np.arange(a, b + 1) for a, b in zip(first, last, strict=True)])
        claims = (seat + 0.5) / shares[owner]
        rank = index - int(first.sum())
        return tuple(self.shown)[owner[np.lexsort((owner, claims))[rank]]]


def make_spec(values: Any) -> FaceSpec:
    """A spec from plain values, as a YAML file gives them.

    Raises:
        SpecError: one sentence on the first field at fault.
    """
    if not isinstance(values, Mapping):
        raise SpecError(f"face spec: needs fields and their values, got {_brief(values)}")
    for name in values:
        if not isinstance(name, str):
            raise SpecError(f"face spec: unknown field {_brief(name)}: use {_fields()}")
    return FaceSpec(**values)


def _check_class(name: str) -> None:
    parts = name.split("+")
    for part in parts:
        if part not in CLASSES:
            raise SpecError(
                f"face spec: classes: unknown class {_brief(part)}: use {', '.join(CLASSES)}"
            )
    if len(parts) > 2 or len(set(parts)) < len(parts) or (len(parts) == 2 and "neutral" in parts):
        raise SpecError(
            f"face spec: classes: {_brief(name)} is no compound: join two different classes other "
            "than neutral, as in 'happy+surprise'"
        )


def _sentence(error: ValidationError) -> str:
    """What is wrong with the first field at fault."""
    first = error.errors()[0]
    place = ".".join(str(step) for step in first["loc"] if step != "[key]")
    if first["type"] == "unexpected_positional_argument":
        return "face spec: fields are given by name, as in FaceSpec(count=10)"
    if first["type"] == "unexpected_keyword_argument":
        return f"face spec: unknown field {_brief(place)}: use {_fields()}"
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"face spec: {place}: {message}, got {_brief(first['input'])}"


def _fields() -> str:
    return ", ".join(FaceSpec.__dataclass_fields__)


def _brief(value: Any) -> str:
    """A value in an error message: on one line, and short however long it is."""
    try:
        return reprlib.repr(value)
    except ValueError:  # a number of thousands of digits
        return "a huge number"
