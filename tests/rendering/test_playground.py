"""The sliders move the face that is drawn, and the network reads that face."""

import io
import sys
from collections.abc import Mapping
from importlib import reload

import numpy as np
import pytest
import yaml
from PIL import Image

from face2exp_lib.rendering import playground as module
from face2exp_lib.rendering.expressions import ACTION_UNITS, PROTOTYPES
from face2exp_lib.rendering.playground import (
    SEED,
    SIDES,
    STRANGER,
    STRONGEST,
    UPPER_FACE,
    Playground,
    bars,
    formula,
    prototype_choices,
    units_table,
)
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.resources import shipped


class Reading:
    """A reader that keeps what it has been shown."""

    def __init__(self) -> None:
        self.shown: list[np.ndarray] = []

    def __call__(self, image: np.ndarray) -> Mapping[str, float]:
        self.shown.append(image)
        return {"neutral": 0.25, "happy": 0.75}


@pytest.fixture
def reading() -> Reading:
    return Reading()


@pytest.fixture
def playground(reading: Reading) -> Playground:
    return Playground(reading, size=32)


def picture(playground: Playground) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(playground.picture.value))).astype(int)


def test_there_is_a_slider_for_each_unit(playground: Playground) -> None:
    assert list(playground.units) == list(ACTION_UNITS)
    assert playground.units[12].description == "12 lip corner puller"
    assert set(UPPER_FACE) < set(ACTION_UNITS)


def test_sliders_reach_every_prototype() -> None:
    strengths = [s for vs in PROTOTYPES.values() for v in vs for s in v.units.values()]
    assert max(strengths) <= STRONGEST


def test_the_first_person_shown_is_of_the_embedded_test_part() -> None:
    parts = yaml.safe_load((shipped("data/rendered") / "spec.yaml").read_text())["parts"]
    assert {part["seed"] for part in parts.values()} == {SEED}
    assert parts["fer_test"]["first_identity"] == STRANGER


def test_choosing_an_expression_sets_the_sliders_and_draws_once(
    playground: Playground, reading: Reading
) -> None:
    before = len(reading.shown)
    playground.prototype.value = ("anger", 1)
    set_to = {number: slider.value for number, slider in playground.units.items() if slider.value}
    assert set_to == PROTOTYPES["anger"][1].units
    assert len(reading.shown) == before + 1
    playground.prototype.value = ("happy", 0)
    assert playground.units[4].value == 0
    assert len(reading.shown) == before + 2


def test_contempt_is_shown_by_one_side(playground: Playground) -> None:
    playground.prototype.value = ("contempt", 0)
    assert SIDES[playground.sides.value] == (1.0, 0.05)
    playground.prototype.value = ("happy", 0)
    assert SIDES[playground.sides.value] == (1.0, 1.0)


def test_a_unit_moved_by_hand_makes_it_a_mixture_of_your_own(
    playground: Playground, reading: Reading
) -> None:
    playground.prototype.value = ("happy", 0)
    before = len(reading.shown)
    playground.units[9].value = 1.0
    assert playground.prototype.value is None
    assert playground.units[12].value == PROTOTYPES["happy"][0].units[12]
    assert len(reading.shown) == before + 1
    playground.prototype.value = ("happy", 0)  # and there is a way back
    assert playground.units[9].value == 0


@pytest.mark.parametrize(
    ("control", "value"),
    [
        ("intensity", 0.2),
        ("sides", "its right"),
        ("person", 3),
        ("occluder", "sunglasses"),
        ("yaw", 30),
        ("pitch", 15),
        ("light_azimuth", -60),
        ("light_elevation", 70),
    ],
)
def test_every_control_changes_the_picture(
    playground: Playground, control: str, value: object
) -> None:
    playground.prototype.value = ("surprise", 0)
    before = picture(playground)
    getattr(playground, control).value = value
    assert np.abs(picture(playground) - before).max() > 20


def test_at_intensity_0_every_expression_is_neutral(playground: Playground) -> None:
    at_rest = playground.picture.value
    playground.prototype.value = ("fear", 0)
    assert playground.picture.value != at_rest
    playground.intensity.value = 0
    assert playground.picture.value == at_rest


def test_the_network_reads_the_picture_that_is_shown(
    playground: Playground, reading: Reading
) -> None:
    (image,) = reading.shown
    assert image.shape == (32, 32, 3)
    assert np.abs(image - picture(playground)).mean() < 4  # but for JPEG
    assert "75 %" in playground.reading.value


def test_without_a_network_the_face_is_shown_and_it_is_said() -> None:
    playground = Playground(size=32)
    assert picture(playground).shape == (32, 32, 3)
    assert "no network" in playground.reading.value


def test_it_shows_itself_as_one_widget(playground: Playground) -> None:
    bundle = playground._repr_mimebundle_()
    view = bundle["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == playground.box.model_id


def test_bars() -> None:
    neutral, happy = bars({"neutral": 0.25, "happy": 0.75}).split("</div>")[:2]
    assert "width:25.0%" in neutral
    assert "bold" not in neutral
    assert "width:75.0%" in happy
    assert "bold" in happy


def test_formulas_and_choices() -> None:
    assert formula({12: 1.0, 6: 0.8}) == "6+12"
    assert formula({}) == "at rest"
    choices = prototype_choices()
    assert len(choices) == sum(map(len, PROTOTYPES.values()))
    assert choices[0] == ("neutral: at rest", ("neutral", 0))


def test_table_has_a_row_for_each_prototype() -> None:
    table = units_table()
    assert table.count("<tr>") == 1 + sum(map(len, PROTOTYPES.values()))
    assert table.count("rowgroup") == len(PROTOTYPES)
    strength = PROTOTYPES["surprise"][0].units[2]
    assert f"2 outer brow raiser {strength:.2f}" in table
    assert "(one side)" in table


def test_without_ipywidgets_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(
        Face2ExpError, match=r"needs ipywidgets: pip install 'face2exp-lib\[book\]'"
    ):
        reload(module)
