"""Specs: classes in proportion, and mistakes named in one sentence."""

import math
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from face2exp_lib.rendering import FaceSpec, SpecError, make_spec, render_face
from face2exp_lib.runtime.errors import Face2ExpError

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"classes": {"happy": -1.0}}, r"classes: weight -1\.0 of 'happy' must be 0 or a positive"),
    ({"classes": {"happy": math.nan}}, "classes: weight nan of 'happy' must be"),
    ({"classes": {"happy": math.inf}}, "classes: weight inf of 'happy' must be"),
    ({"classes": {"happy": 1e300, "sad": 1e300}}, r"classes: .* number from 1e-09 to 1e\+09"),
    ({"classes": {"happy": 1e-300, "sad": 1.0}}, r"classes: .* number from 1e-09 to 1e\+09"),
    ({"classes": {"joy": 1.0}}, "classes: unknown class 'joy': use neutral, happy"),
    ({"classes": {"": 1.0}}, "classes: unknown class ''"),
    ({"classes": {"joy" * 1000: 1.0}}, r"classes: unknown class 'joyjoy.*\.\.\..*yjoy': use"),
    ({"classes": {"two\nlines": 1.0}}, r"classes: unknown class 'two\\nlines'"),
    ({"classes": {"happy": 0.0}}, "classes: give at least one class a weight above 0"),
    ({"classes": {}}, "classes: give at least one class a weight above 0"),
    ({"classes": {"sad+sad": 1.0}}, "classes: 'sad.sad' is no compound"),
    ({"classes": {"neutral+sad": 1.0}}, "classes: 'neutral.sad' is no compound"),
    ({"classes": {"sad+fear+anger": 1.0}}, "classes: 'sad.fear.anger' is no compound"),
    ({"classes": {"happy": "much"}}, "classes.happy: input should be a valid number, got 'much'"),
    ({"classes": {"happy": True}}, "classes.happy: input should be a valid number, got True"),
    ({"classes": "happy"}, "classes: input should be a valid dictionary, got 'happy'"),
    ({"size": 0}, "size: input should be greater than or equal to 16, got 0"),
    ({"size": 10_000}, "size: input should be less than or equal to 1024, got 10000"),
    ({"size": 64.5}, r"size: input should be a valid integer, got 64\.5"),
    ({"size": "64"}, "size: input should be a valid integer, got '64'"),
    ({"size": None}, "size: input should be a valid integer, got None"),
    ({"count": 0}, "count: input should be greater than or equal to 1, got 0"),
    ({"count": True}, "count: input should be a valid integer, got True"),
    ({"seed": -1}, "seed: input should be greater than or equal to 0, got -1"),
    ({"seed": 10**5000}, "seed: input should be .*, got a huge number"),
    ({"purpose": ""}, "purpose: string should have at least 1 character, got ''"),
    ({"pose": math.nan}, "pose: input should be .*, got nan"),
    ({"intensity": [0.9, 0.2]}, "intensity: .* must be two rising numbers"),
    ({"intensity": [0.2]}, r"intensity\.1: field required|intensity: .*, got \[0\.2\]"),
    ({"intensity": 0.2}, r"intensity: input should be a valid tuple, got 0\.2"),
    ({"intensity": [math.nan, 1.0]}, "intensity: .* must be two rising numbers"),
    ({"num_identities": 6}, "num_identities: 6 for 7 classes: give at least one identity"),
    ({"colour": "red"}, "unknown field 'colour': use seed, purpose"),
    ({"label_noise": 0.5, "classes": {"sad": 1.0}}, "label_noise: .* second class"),
]


@pytest.mark.parametrize("make", [make_spec, lambda values: FaceSpec(**values)])
@pytest.mark.parametrize(("values", "message"), WRONG)
def test_mistakes_name_the_field_and_the_way_out(
    make: Callable[[dict[str, Any]], FaceSpec], values: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=f"face spec: {message}") as caught:
        make(values)
    assert isinstance(caught.value, Face2ExpError)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_other_ways_to_make_a_spec_are_checked_too() -> None:
    with pytest.raises(SpecError, match="size: input should be greater"):
        replace(FaceSpec(), size=0)
    with pytest.raises(SpecError, match=r"fields are given by name, as in FaceSpec\(count"):
        FaceSpec(3)  # type: ignore[call-arg]
    for values in (None, [1], "count"):
        with pytest.raises(SpecError, match="needs fields and their values, got "):
            make_spec(values)
    with pytest.raises(SpecError, match="unknown field 3: use seed"):
        make_spec({3: 4})


def test_numbers_of_numpy_are_numbers() -> None:
    values: dict[str, Any] = {"seed": np.int64(3), "pose": np.float32(0.5), "idle": 1}
    spec = FaceSpec(**values, classes={"sad": np.float64(2)})
    assert spec == FaceSpec(seed=3, pose=0.5, idle=1.0, classes={"sad": 2.0})
    assert [type(value) for value in (spec.seed, spec.pose, spec.idle)] == [int, float, float]


def test_index_beyond_the_set() -> None:
    with pytest.raises(SpecError, match="index: 5 is not in a set of count 5"):
        render_face(FaceSpec(count=5), 5)


def test_every_prefix_holds_the_classes_in_proportion() -> None:
    spec = FaceSpec(count=1000, classes={"happy": 3.0, "fear": 1.0, "sad+anger": 1.0, "sad": 0.0})
    shown = [spec.mixture(index) for index in range(1000)]
    for length in (5, 50, 1000):
        counts = Counter(shown[:length])
        assert counts == {
            "happy": 3 * length // 5,
            "fear": length // 5,
            "sad+anger": length // 5,
        }


def test_seats_are_given_out_one_by_one() -> None:
    """Sainte-Lague by hand: the next goes to the class with the highest weight / (2 seats + 1)."""
    weights = {"happy": 4772.0, "fear": 281.0, "sad+anger": 0.5, "neutral": 2524.0, "anger": 2524.0}
    spec = FaceSpec(count=3000, classes=weights)
    seats = dict.fromkeys(weights, 0)
    for index in range(3000):
        claims = {name: weight / (2 * seats[name] + 1) for name, weight in weights.items()}
        winner = max(claims, key=claims.__getitem__)
        seats[winner] += 1
        assert spec.mixture(index) == winner


def test_a_late_image_costs_no_more_than_an_early_one() -> None:
    spec = FaceSpec(count=10_000_000)
    spec.mixture(0)
    tracemalloc.start()
    try:
        shown = Counter(spec.mixture(index) for index in range(9_999_990, 9_999_997))
        assert tracemalloc.get_traced_memory()[1] < 1e5
    finally:
        tracemalloc.stop()
    assert shown == dict.fromkeys(spec.classes, 1)


def test_identities_lie_in_the_range_asked_for() -> None:
    spec = FaceSpec(count=20, size=16, first_identity=7, num_identities=8)
    numbers = {render_face(spec, index)[1].identity for index in range(20)}
    assert numbers <= set(range(7, 15))
    assert len(numbers) > 4


def test_label_noise_changes_the_label_and_not_the_truth() -> None:
    clean = FaceSpec(count=24, size=16)
    noisy = FaceSpec(count=24, size=16, label_noise=0.5)
    records = [(render_face(clean, i)[1], render_face(noisy, i)[1]) for i in range(24)]
    assert all(a.expression == a.true_expression == b.true_expression for a, b in records)
    wrong = sum(b.expression != b.true_expression for _, b in records)
    assert 5 <= wrong <= 19  # 12 expected; 3 standard deviations are 7
