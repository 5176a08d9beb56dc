"""Where the sets of a run lie and how they are shared out, as a configuration names them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from face2exp_lib.data.formats import FORMATS
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
        format: layout, a key of `face2exp_lib.data.formats.FORMATS`.
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
        if value not in FORMATS:
            raise ValueError(f"no such format '{value}': take {', '.join(FORMATS)}")
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
        adapter = FORMATS[self.format]
        if self.format == "rendered" and not self.path:
            path = data_root = shipped("data/rendered")
        else:
            path = below_data_root(self.path, data_root)
        faces = read_set(adapter, path, self.part, self.codes, skip_bad=self.skip_bad)
        if not self.landmarks:
            return faces
        return attach(faces, below_data_root(self.landmarks, data_root), self.crop)


@dataclass(frozen=True, config=STRICT)
class Data:
    """The sets of a run and how their images are stored and cropped.

    Attributes:
        labelled: D'_FER, the long-tailed labelled set; training and validation are cut from it.
        test: read once, by `face2exp evaluate --split test`.
        unlabelled: D_FR; its labels, if it has any, are never read. May be left out where the
            method learns from labels alone.
        num_classes: 7, or 8 with contempt.
        validation: a set of its own, or None to cut one from `labelled`.
        validation_per_class: images of each class to cut; None with a set of its own.
        balanced: Smp draws the same number of each class; False keeps the labels unbalanced (the
            paper's RAF-DB runs).
        per_class: images of each class in the balanced draw; with neither this nor `percent` it
            takes the size of the smallest class.
        percent: size of the draw in percent of the images that training is left with; None takes
            all of them where `balanced` is False.
        ratios: of the classes in an unbalanced draw. `exact` keeps them, so that a run's rare
            classes do not depend on its seed; `random` draws from all images alike. The paper does
            not say which.
        draw: a table of image,label (and part) as `face2exp data draw` writes it; takes the place
            of the draws of training and, if it lists some, validation images.
        drop: a table, or a list of them, as `face2exp data audit --out` and `data inspect
            --skip-bad` write it: training leaves out its rows marked `yes`.
        check_unlabelled: leave exact copies of evaluation images out of D_FR. Reads all of its
            files once at the start (of shards their tables alone); turn it off for millions of
            files, and audit them instead.
        stored_size: side in px to which images are resized when read (paper: 256).
        view_size: side in px of the random crop (paper: 224).
        in_memory: keep decoded images, but those of a stream; for sets that fit.
        stream_window: shards whose images are mixed at a time where `unlabelled` is streamed, that
            is where its format is `shards`. The system reads as many again ahead: at 256 px 8 are
            1.5 GB of its page cache, and twice that with the next ones.
        num_workers: processes that decode; 0 decodes in the training process.
    """

    labelled: Source
    test: Source
    unlabelled: Source | None = None
    num_classes: Literal[7, 8] = 7
    validation: Source | None = None
    validation_per_class: int | None = Field(default=None, gt=0)
    balanced: bool = True
    per_class: int | None = Field(default=None, gt=0)
    percent: float | None = Field(default=None, gt=0, le=100)
    ratios: Literal["exact", "random"] = "exact"
    draw: str | None = None
    drop: str | tuple[str, ...] | None = None
    check_unlabelled: bool = True
    stored_size: int = Field(default=256, ge=32, le=1024)
    view_size: int = Field(default=224, ge=32, le=1024)
    in_memory: bool = False
    stream_window: int = Field(default=8, ge=1, le=1024)
    num_workers: int = Field(default=0, ge=0, le=256)

    @model_validator(mode="after")
    def _consistent(self) -> "Data":
        if self.view_size > self.stored_size:
            raise ValueError(f"view_size {self.view_size} is over stored_size {self.stored_size}")
        if (self.validation is None) == (self.validation_per_class is None):
            raise ValueError("give either validation or validation_per_class")
        if self.per_class is not None and not self.balanced:
            raise ValueError("per_class is a balanced draw: leave it out or set balanced to true")
        if self.per_class is not None and self.percent is not None:
            raise ValueError("give either per_class or percent")
        if self.ratios == "random" and (self.balanced or self.percent is None):
            raise ValueError("ratios are those of an unbalanced draw: set balanced and percent")
        return self


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
