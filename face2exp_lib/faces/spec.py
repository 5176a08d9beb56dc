"""`FaceSpec`: everything that a rendered set depends on, checked when it is made."""

from dataclasses import field
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from face2exp_lib.errors import Face2ExpError
from face2exp_lib.faces.expressions import CLASSES
from face2exp_lib.seeding import numpy_generator

SMALLEST_SIZE, LARGEST_SIZE = 16, 1024


class SpecError(Face2ExpError, ValueError):
    """A spec that cannot be rendered; the message names the field and the way out."""


def even_classes() -> dict[str, float]:
    """The seven basic expressions, all alike."""
    return dict.fromkeys(CLASSES[:7], 1.0)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class FaceSpec:
    """A set of rendered faces.

    Image `index` is a function of the spec without `count`: a set of 1,000 is the beginning of
    a set of 3,000. Identity `number` is a function of `seed` alone: sets of one seed whose ranges
    `first_identity .. first_identity + num_identities - 1` overlap show the same people.
    """

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """With `purpose` and the index, the source of all randomness."""
    purpose: Annotated[str, Field(min_length=1, max_length=64)] = "faces"
    """Name of the set; two sets of different purpose share no image."""
    count: Annotated[int, Field(ge=1, le=10_000_000)] = 1
    """Number of images."""
    size: Annotated[int, Field(ge=SMALLEST_SIZE, le=LARGEST_SIZE)] = 64
    """Width and height in pixels."""
    classes: dict[str, float] = field(default_factory=even_classes)
    """Class name, or `dominant+other` for a compound, -> weight; the shares of images
    follow the weights to within one image."""
    num_identities: Annotated[int, Field(ge=1, le=10_000_000)] = 100
    """People in the set, drawn anew for each image; at least as many as classes."""
    first_identity: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Number of the first of them."""
    intensity: tuple[float, float] = (0.3, 1.0)
    """Range of expression strength, 1 is the prototype in full; between 0 and 1.3."""
    idle: Annotated[float, Field(ge=0, le=1)] = 0.15
    """Size of movements that belong to no expression (ARKit weight)."""
    pose: Annotated[float, Field(ge=0, le=2)] = 1.0
    """Scale of head turns; 1 is 17, 8 and 6 degrees of yaw, pitch and roll (standard deviation)."""
    light: Annotated[float, Field(ge=0, le=2)] = 1.0
    """Scale of the variation of light direction, colour and exposure."""
    label_noise: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Part of the images whose `expression` is another class of the set than the one shown."""

    @model_validator(mode="after")
    def _check(self) -> "FaceSpec":
        known = ", ".join(CLASSES)
        for name, weight in self.classes.items():
            parts = name.split("+")
            for part in parts:
                if part not in CLASSES:
                    raise ValueError(f"classes: unknown class '{part}': use {known}")
            if (
                len(parts) > 2
                or len(set(parts)) < len(parts)
                or (len(parts) > 1 and "neutral" in parts)
            ):
                raise ValueError(
                    f"classes: '{name}' is no compound: join two different classes other than "
                    "neutral, as in 'happy+surprise'"
                )
            if not 0 <= weight < float("inf"):
                raise ValueError(
                    f"classes: weight {weight} of '{name}' must be 0 or a positive number"
                )
        if sum(self.classes.values()) <= 0:
            raise ValueError("classes: give at least one class a weight above 0")
        if self.num_identities < len(self.shown):
            raise ValueError(
                f"num_identities: {self.num_identities} for {len(self.shown)} classes: give at "
                "least one identity per class, or fewer classes"
            )
        low, high = self.intensity
        if not 0 <= low <= high <= 1.3:
            raise ValueError(
                f"intensity: ({low}, {high}) must be two rising numbers between 0 and 1.3"
            )
        if self.label_noise > 0 and len(self.dominant_classes) < 2:
            raise ValueError("label_noise: a wrong label needs a second class; set it to 0")
        return self

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
        """The class or compound that image `index` shows."""
        names = tuple(self.shown)
        return names[_class_order(tuple(self.shown.values()), _order_length(index))[index]]


def _order_length(index: int) -> int:
    return 1 << (index + 1).bit_length()  # few distinct lengths, so that the cache below is hit


@lru_cache(maxsize=32)
def _class_order(weights: tuple[float, ...], length: int) -> np.ndarray:
    """Class of each of `length` images: seats given out one by one after Sainte-Lague.

    Every prefix holds the classes in the proportion of their weights.
    """
    shares = np.array(weights) / sum(weights)
    seats = [np.arange(int(share * length) + 2) for share in shares]
    claims = np.concatenate([(s + 0.5) / share for s, share in zip(seats, shares, strict=True)])
    owner = np.repeat(np.arange(len(shares)), [len(s) for s in seats])
    return owner[np.lexsort((owner, claims))][:length]


_ADAPTER = TypeAdapter(FaceSpec)


def make_spec(values: Any) -> FaceSpec:
    """A spec from plain values, as a YAML file gives them.

    Raises:
        SpecError: one sentence on the first field at fault.
    """
    try:
        return _ADAPTER.validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        place = ".".join(str(step) for step in first["loc"])
        if first["type"] == "value_error":
            raise SpecError(f"face spec: {message}") from error
        if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            fields = ", ".join(FaceSpec.__dataclass_fields__)
            raise SpecError(f"face spec: unknown field '{place}': use {fields}") from error
        message = message[0].lower() + message[1:]
        raise SpecError(f"face spec: {place}: {message}, got {first['input']!r}") from error
