"""The tables that define expressions, and what is drawn from them."""

import numpy as np
import pytest

from face2exp_lib.rendering.assets import load_assets
from face2exp_lib.rendering.expressions import (
    ACTION_UNITS,
    CLASSES,
    IDLE_UNITS,
    LARGEST_WEIGHT,
    PROTOTYPES,
    both_sides,
    sample_action_weights,
)
from face2exp_lib.rendering.record import action_names
from face2exp_lib.rendering.wrinkles import sided_folds


def test_class_order() -> None:
    assert CLASSES == (
        "neutral", "happy", "surprise", "sad", "anger", "disgust", "fear", "contempt",
    )  # fmt: skip
    assert tuple(PROTOTYPES) == CLASSES


def test_the_mesh_has_the_52_arkit_units() -> None:
    assert len(action_names()) == 52
    assert {"browInnerUp", "jawOpen", "mouthSmileLeft", "eyeWideRight"} <= set(action_names())


def test_tables_use_arkit_units_that_exist() -> None:
    used = {
        name for unit in ACTION_UNITS.values() for entry in unit.arkit for name in both_sides(entry)
    }
    used |= {name for entry in IDLE_UNITS for name in both_sides(entry)}
    used |= {name for _, actions in sided_folds() for name in actions}
    assert used <= set(action_names())


def test_prototypes_use_units_of_the_table_and_share_to_one() -> None:
    for name, variants in PROTOTYPES.items():
        assert sum(variant.share for variant in variants) == pytest.approx(1), name
        for variant in variants:
            assert set(variant.units) <= set(ACTION_UNITS), name
            assert all(0 < strength <= 1.5 for strength in variant.units.values()), name


@pytest.mark.parametrize(
    ("expression", "units"),
    [
        ("happy", {6, 12}),
        ("surprise", {1, 2}),
        ("sad", {1, 15}),
        ("anger", {4}),
        ("disgust", {9, 10}),
        ("fear", {1, 4, 5, 20}),
        ("contempt", {14}),
    ],
)
def test_every_variant_has_the_units_that_define_its_class(expression: str, units: set) -> None:
    for variant in PROTOTYPES[expression]:
        assert units <= set(variant.units)


def draw(mixture: str, intensity: float, seed: int = 0, idle: float = 0.0) -> dict[str, float]:
    return sample_action_weights(mixture, intensity, idle, np.random.default_rng(seed))


def test_weights_are_bounded_and_grow_with_intensity() -> None:
    for mixture in (*CLASSES[1:], "happy+surprise"):
        weak, strong = draw(mixture, 0.2), draw(mixture, 1.0)
        assert all(0 < weight <= LARGEST_WEIGHT for weight in strong.values())
        assert sum(weak.values()) < sum(strong.values())


def test_a_still_neutral_face_only_looks_around() -> None:
    assert all(name.startswith("eyeLook") for name in draw("neutral", 1.0))


def test_contempt_is_one_sided_and_both_sides_occur() -> None:
    left_wins = set()
    for seed in range(10):
        weights = draw("contempt", 1.0, seed)
        left, right = (weights["mouthDimple" + side] for side in ("Left", "Right"))
        assert max(left, right) > 5 * min(left, right)
        left_wins.add(left > right)
    assert left_wins == {True, False}


def test_a_compound_shows_both_and_the_dominant_one_more() -> None:
    smile, brow = [], []
    for seed in range(30):
        weights = draw("happy+surprise", 1.0, seed)
        smile.append(weights["mouthSmileLeft"])
        brow.append(weights["browInnerUp"])
        weights = draw("surprise+happy", 1.0, seed)
        smile[-1] -= weights["mouthSmileLeft"]
        brow[-1] -= weights["browInnerUp"]
    assert np.mean(smile) > 0.1
    assert np.mean(brow) < -0.1


def test_left_units_move_the_faces_own_left() -> None:
    assets = load_assets()
    for name in action_names():
        if name.endswith("Left") and name not in ("jawLeft", "mouthLeft"):
            indices, offsets = assets.targets[f"au:{name}"]
            moved = np.linalg.norm(offsets, axis=1)
            assert (assets.vertices[indices, 0] * moved).sum() > 0, name
