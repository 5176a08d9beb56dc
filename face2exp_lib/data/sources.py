"""Where a set of faces lies, as a configuration names it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, field_validator, model_validator
from pydantic.dataclasses import dataclass

from face2exp_lib.data.formats import ADAPTERS
from face2exp_lib.data.reading import read_set
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.labels import CODES, own_codes
from face2exp_lib.data.sets.landmark_table import attach
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.resources import shipped

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, config=STRICT)
class Source:
    """Where one set of faces lies.

    Attributes:
        format: layout, a key of `face2exp_lib.data.formats.ADAPTERS`.
        path: below the data root, or absolute; empty for the embedded rendered faces.
        part: part of the set: a folder (`train`), a Usage of fer2013.csv, a part of the pack.
        codes: what the labels mean: a key of `face2exp_lib.data.sets.labels.CODES`, or a mapping of
            your own, `{0: anger, 1: happy, 2: none}`. None takes that of the layout, or what the
            labels and their counts leave no doubt about.
        skip_bad: leave rows out that cannot be used, instead of stopping at the first.
        landmarks: table of `face2exp data landmarks`, below the data root or absolute (of the
            embedded faces: beside them); its points take the place of the set's own.
        crop: "whole", or "face" for the square round the face of that table, see
            `face2exp_lib.data.sets.landmark_table.attach`.
    """

    format: str
    path: str = ""
    part: str = ""
    codes: str | dict[str, str] | None = None
    skip_bad: bool = False
    landmarks: str = ""
    crop: Literal["whole", "face"] = "whole"

    @field_validator("format")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in ADAPTERS:
            raise ValueError(f"no such format '{value}': take {', '.join(ADAPTERS)}")
        return value

    @field_validator("codes", mode="before")
    @classmethod
    def _codes(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            try:
                return own_codes(value)
            except Face2ExpError as error:
                raise ValueError(str(error)) from error
        if isinstance(value, str) and value not in CODES:
            raise ValueError(
                f"no such codes '{value}': take {', '.join(CODES)}, or give a mapping of your own"
            )
        return value

    @model_validator(mode="after")
    def _crop_by_landmarks(self) -> "Source":
        if self.crop == "face" and not self.landmarks:
            raise ValueError(
                "crop: face needs landmarks: name the table of `face2exp data landmarks`"
            )
        return self

    def read(self, data_root: Path | str | None) -> FaceSet:
        """Read the list of images and labels, and their landmarks; no image is decoded.

        Raises:
            Face2ExpError: if a path is relative and there is no data root, nothing is found, or the
                table of landmarks does not fit.
        """
        data_root = Path(data_root) if data_root else None
        adapter = ADAPTERS[self.format]
        if self.format == "rendered" and not self.path:
            path = data_root = shipped("data/rendered")
        else:
            path = below_data_root(self.path, data_root)
        faces = read_set(adapter, path, self.part, self.codes, skip_bad=self.skip_bad)
        if not self.landmarks:
            return faces
        return attach(faces, below_data_root(self.landmarks, data_root), self.crop)


def below_data_root(text: str, data_root: Path | str | None) -> Path:
    """The path that a config names: absolute, in the home folder (`~`), or below the data root.

    Raises:
        Face2ExpError: if it is relative and there is no data root.
    """
    data_root = Path(data_root) if data_root else None
    path = Path(os.path.expanduser(text))
    if path.is_absolute():
        return path
    if data_root is None:
        raise Face2ExpError(
            f"'{text}' lies below the data root, and none is set: give --data-root DIR or set "
            "FACE2EXP_DATA"
        )
    return data_root / path
