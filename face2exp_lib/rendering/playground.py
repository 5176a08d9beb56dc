"""Sliders for a face: FACS units, person, light and pose, drawn at once and read by a network.

The sliders live in a notebook with a kernel. Needs ipywidgets, which the extra `book` brings.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from face2exp_lib.rendering.expressions import ACTION_UNITS, OTHER_SIDE, PROTOTYPES, Prototype
from face2exp_lib.rendering.occluders import OCCLUDERS, make_occluder
from face2exp_lib.rendering.posing import load_person
from face2exp_lib.rendering.render import render_head
from face2exp_lib.rendering.studio import LIGHT_AZIMUTH, LIGHT_ELEVATION, studio_scene, unit_weights
from face2exp_lib.runtime.errors import Face2ExpError

try:
    import ipywidgets as widgets
except ModuleNotFoundError as error:
    raise Face2ExpError(
        "the playground needs ipywidgets: pip install 'face2exp-lib[book]'"
    ) from error

Reader = Callable[[np.ndarray], Mapping[str, float]]
"""From a picture, (S, S, 3) uint8 sRGB, to class name -> probability."""

UPPER_FACE = (1, 2, 4, 5, 6, 7, 43)  # brows, lids and cheeks, as FACS divides its units
STRONGEST = 1.5  # of a slider; the strongest unit of a prototype is at 1.4
SIDES = {"both sides": (1.0, 1.0), "its left": (1.0, OTHER_SIDE), "its right": (OTHER_SIDE, 1.0)}
# One whom a network that learnt from the embedded faces has never met.
SEED, STRANGER = 20222, 2000  # of data/rendered/spec.yaml: all its people, the first of fer_test
SHOWN_WIDTH = "256px"
JPEG_QUALITY = 92


def formula(units: Mapping[int, float]) -> str:
    """Units as FACS writes them, `6+12`."""
    return "+".join(map(str, sorted(units))) or "at rest"


def prototype_choices() -> list[tuple[str, tuple[str, int]]]:
    """(text, (class, number of its variant)) of every prototype, as a drop-down takes it."""
    return [
        (f"{name}: {formula(variant.units)}", (name, index))
        for name, variants in PROTOTYPES.items()
        for index, variant in enumerate(variants)
    ]


def units_table() -> str:
    """HTML table of the units and strengths of every prototype."""
    left = 'style="text-align:left"'
    lines = []
    for name, variants in PROTOTYPES.items():
        for index, variant in enumerate(variants):
            units = ", ".join(
                f"{unit} {escape(ACTION_UNITS[unit].name)} {strength:.2f}"
                for unit, strength in sorted(variant.units.items())
            )
            side = " (one side)" if variant.one_sided else ""
            head = f'<th scope="rowgroup" rowspan="{len(variants)}" {left}>{escape(name)}</th>'
            lines.append(
                f"<tr>{head if index == 0 else ''}<td {left}>{100 * variant.share:.0f} %</td>"
                f"<td {left}>{units or 'none'}{side}</td></tr>"
            )
    titles = "".join(
        f'<th scope="col" {left}>{title}</th>'
        for title in ("Expression", "Share", "Units at intensity 1")
    )
    body = "".join(lines)
    return f'<table class="table"><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>'


def bars(probabilities: Mapping[str, float]) -> str:
    """HTML bars of class probabilities, the likeliest in bold."""
    likeliest = max(probabilities, key=lambda name: probabilities[name])
    rows = []
    for name, probability in probabilities.items():
        percent = f"{100 * probability:.0f} %"
        weight = "bold" if name == likeliest else "normal"
        rows.append(
            f'<div style="display:flex; gap:6px; font-weight:{weight}; line-height:20px">'
            f'<span style="width:64px">{escape(name)}</span>'
            f'<span style="width:130px"><span style="display:block; height:12px; margin-top:4px;'
            f' background:#0072b2; width:{100 * probability:.1f}%"></span></span>'
            f"<span>{percent}</span></div>"
        )
    return "".join(rows)


class Playground:
    """A face and the sliders that move it; the last line of a cell shows it.

    Attributes:
        units: FACS number -> its slider.
        picture: the face as it is shown.
        box: all of it, as one widget.
    """

    def __init__(
        self,
        read: Reader | None = None,
        *,
        size: int = 128,
        seed: int = SEED,
        person: int = STRANGER,
    ) -> None:
        """Args:
        read: what a network makes of a picture; without one the faces are shown alone.
        size: of the picture that is drawn, pixels.
        seed: of the people; the default are those of the embedded faces.
        person: number of the first one shown.
        """
        self.read, self.size, self.seed = read, size, seed
        self.units = {
            number: _slider(f"{number} {unit.name}", 0.0, STRONGEST, 0.0, step=0.05)
            for number, unit in ACTION_UNITS.items()
        }
        self.prototype = _named(
            widgets.Dropdown,
            "expression",
            options=[("a mixture of your own", None), *prototype_choices()],
            value=("neutral", 0),
        )
        self.intensity = _slider("intensity", 0.0, STRONGEST, 1.0, step=0.05)
        self.sides = _named(widgets.Dropdown, "shown by", options=list(SIDES))
        self.person = _named(widgets.BoundedIntText, "person", value=person, min=0, max=2**31 - 1)
        self.occluder = _named(
            widgets.Dropdown,
            "covered by",
            options=[("nothing", None), *((kind.replace("_", " "), kind) for kind in OCCLUDERS)],
        )
        self.yaw = _slider("head: to the right", -45, 45, 0)
        self.pitch = _slider("head: up", -20, 20, 0)
        self.light_azimuth = _slider("light: from the right", -90, 90, LIGHT_AZIMUTH)
        self.light_elevation = _slider("light: from above", -20, 80, LIGHT_ELEVATION)
        self.picture = widgets.Image(format="jpeg", width=SHOWN_WIDTH)
        self.reading = widgets.HTML()
        self.box = self._layout()

        self._quiet = False
        self.prototype.observe(self._choose, "value")
        for slider in self.units.values():
            slider.observe(self._mix, "value")
        for control in (
            *(self.intensity, self.sides, self.person, self.occluder),
            *(self.yaw, self.pitch, self.light_azimuth, self.light_elevation),
        ):
            control.observe(self._redraw, "value")
        self.draw()

    def draw(self) -> None:
        """Draw the face as the sliders stand and have it read."""
        left, right = SIDES[self.sides.value]
        strengths = {
            number: slider.value * self.intensity.value for number, slider in self.units.items()
        }
        scene = studio_scene(
            yaw=self.yaw.value,
            pitch=self.pitch.value,
            light_azimuth=self.light_azimuth.value,
            light_elevation=self.light_elevation.value,
        )
        number, kind = self.person.value, self.occluder.value
        image, _ = render_head(
            load_person(self.seed, number),
            unit_weights(strengths, left=left, right=right),
            scene,
            self.size,
            # everybody keeps their own glasses
            occluder=make_occluder(kind, np.random.default_rng(number)) if kind else None,
        )
        stored = io.BytesIO()
        Image.fromarray(image).save(stored, "JPEG", quality=JPEG_QUALITY)
        self.picture.value = stored.getvalue()
        self.reading.value = bars(self.read(image)) if self.read else "no network to read it"

    def pose(self, prototype: Prototype) -> None:
        """Set the sliders of the units to a prototype."""
        with self._quietly():
            for number, slider in self.units.items():
                slider.value = prototype.units.get(number, 0.0)
            self.sides.value = "its left" if prototype.one_sided else "both sides"
        self.draw()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return self.box._repr_mimebundle_(**kwargs)

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Sliders that the program moves draw nothing."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    def _redraw(self, _: Any) -> None:
        if not self._quiet:
            self.draw()

    def _mix(self, _: Any) -> None:
        if not self._quiet:
            with self._quietly():
                self.prototype.value = None
            self.draw()

    def _choose(self, _: Any) -> None:
        if self.prototype.value is not None and not self._quiet:
            name, index = self.prototype.value
            self.pose(PROTOTYPES[name][index])

    def _layout(self) -> Any:
        lower = [slider for number, slider in self.units.items() if number not in UPPER_FACE]
        columns = [
            [self.picture, _heading("A network reads"), self.reading],
            [
                *(self.prototype, self.intensity, self.sides),
                _heading("Upper face"),
                *(self.units[number] for number in UPPER_FACE),
                _heading("Person and scene"),
                *(self.person, self.occluder),
                *(self.yaw, self.pitch, self.light_azimuth, self.light_elevation),
            ],
            [_heading("Lower face"), *lower],
        ]
        return widgets.HBox(
            [widgets.VBox(column) for column in columns],
            layout=widgets.Layout(flex_flow="row wrap", grid_gap="0 16px"),
        )


def _named(kind: Any, description: str, **settings: Any) -> Any:
    return kind(
        description=description,
        style={"description_width": "165px"},
        layout=widgets.Layout(width="370px"),
        **settings,
    )


def _slider(description: str, low: float, high: float, value: float, step: float = 1.0) -> Any:
    return _named(
        widgets.FloatSlider,
        description,
        min=low,
        max=high,
        value=value,
        step=step,
        readout_format=".2f" if step < 1 else ".0f",
    )


def _heading(text: str) -> Any:
    return widgets.HTML(f"<b>{escape(text)}</b>")
