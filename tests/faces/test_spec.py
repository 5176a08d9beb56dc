"""Specs: classes in proportion, and mistakes named in one sentence."""

from collections import Counter

import pytest

from face2exp_lib.faces import FaceSpec, SpecError, make_spec, render_face


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"classes": {"happy": -1.0}}, r"classes: weight -1\.0 of 'happy' must be 0 or a positive"),
        ({"classes": {"joy": 1.0}}, "classes: unknown class 'joy': use neutral, happy"),
        ({"classes": {"happy": 0.0}}, "classes: give at least one class a weight above 0"),
        ({"classes": {"sad+sad": 1.0}}, "classes: 'sad.sad' is no compound"),
        ({"classes": {"neutral+sad": 1.0}}, "classes: 'neutral.sad' is no compound"),
        ({"size": 0}, "size: input should be greater than or equal to 16, got 0"),
        ({"size": 10_000}, "size: input should be less than or equal to 1024, got 10000"),
        ({"intensity": [0.9, 0.2]}, "intensity: .* must be two rising numbers"),
        ({"num_identities": 6}, "num_identities: 6 for 7 classes: give at least one identity"),
        ({"colour": "red"}, "unknown field 'colour': use seed, purpose"),
        ({"label_noise": 0.5, "classes": {"sad": 1.0}}, "label_noise: .* second class"),
    ],
)
def test_mistakes_name_the_field_and_the_way_out(values: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        make_spec(values)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)


def test_a_plain_construction_is_checked_too() -> None:
    with pytest.raises(ValueError, match="unknown class 'joy'"):
        FaceSpec(classes={"joy": 1.0})


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
