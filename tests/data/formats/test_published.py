"""Class counts against the published ones, in the order given and in others."""

from itertools import combinations

import pytest

from face2exp_lib.data.formats.published import (
    AFFECTNET,
    AFFECTNET_TRAIN,
    AFFECTNET_VAL,
    FER2013,
    RAFDB,
    RAFDB_TEST,
    RAFDB_TRAIN,
    Published,
    comparable,
    distance,
    fitting_order,
    nearest,
)
from face2exp_lib.data.sets.labels import CODES

ALL = (*RAFDB, *AFFECTNET, *FER2013)


def test_published_totals() -> None:
    totals = {published.title: sum(published.counts.values()) for published in ALL}
    assert totals == {
        "RAF-DB train": 12_271,
        "RAF-DB test": 3_068,
        "AffectNet train": 287_651,
        "AffectNet val": 4_000,
        "FER2013 Training": 28_709,
        "FER2013 PublicTest": 3_589,
        "FER2013 PrivateTest": 3_589,
    }
    seven = comparable({"contempt": 0}, AFFECTNET_TRAIN)
    assert sum(seven.values()) == 283_901


@pytest.mark.parametrize("published", ALL, ids=lambda published: published.title)
def test_published_classes_are_those_of_the_codes(published: Published) -> None:
    assert published.counts.keys() == {
        label.name.lower() for label in CODES[published.codes].values()
    }


@pytest.mark.parametrize("published", ALL, ids=lambda published: published.title)
def test_every_exchange_of_two_classes_is_found_in_the_published_numbers(
    published: Published,
) -> None:
    """RAF-DB's anger and disgust, too, which have 705 and 717 images."""
    assert fitting_order(published.counts, published.counts) == {}
    for a, b in combinations(published.counts, 2):
        swapped = {**published.counts, a: published.counts[b], b: published.counts[a]}
        expected = {a: b, b: a} if published.counts[a] != published.counts[b] else {}
        assert fitting_order(swapped, published.counts) == expected


def test_every_class_moved_on() -> None:
    names = list(RAFDB_TRAIN.counts)
    moved = {name: RAFDB_TRAIN.counts[names[(i + 1) % 7]] for i, name in enumerate(names)}
    order = fitting_order(moved, RAFDB_TRAIN.counts)
    assert order == {name: names[(i + 1) % 7] for i, name in enumerate(names)}


def test_a_sample_shows_a_clear_exchange_and_none_by_chance() -> None:
    tenth = {name: count // 10 for name, count in RAFDB_TRAIN.counts.items()}
    assert fitting_order(tenth, RAFDB_TRAIN.counts) == {}
    unlucky = {**tenth, "anger": tenth["disgust"] + 5, "disgust": tenth["anger"] - 5}
    assert fitting_order(unlucky, RAFDB_TRAIN.counts) == {}
    swapped = {**tenth, "happy": tenth["neutral"], "neutral": tenth["happy"]}
    assert fitting_order(swapped, RAFDB_TRAIN.counts) == {"happy": "neutral", "neutral": "happy"}


def test_another_distribution_is_no_other_order() -> None:
    balanced = dict.fromkeys(RAFDB_TRAIN.counts, 300)
    assert fitting_order(balanced, RAFDB_TRAIN.counts) == {}
    unlike = {**balanced, "fear": 900}
    assert fitting_order(unlike, RAFDB_TRAIN.counts) == {}


def test_a_class_that_the_set_lacks() -> None:
    with_contempt = {**RAFDB_TRAIN.counts, "contempt": 5}
    assert fitting_order(with_contempt, RAFDB_TRAIN.counts) == {}
    assert distance({"contempt": 5}, RAFDB_TRAIN.counts) == 1


def test_the_nearest_part() -> None:
    seven = {**comparable({"contempt": 0}, AFFECTNET_TRAIN), "contempt": 0}
    assert nearest(seven, ALL, is_train=None) is AFFECTNET_TRAIN
    assert nearest(dict(RAFDB_TEST.counts), ALL, is_train=True) is RAFDB_TEST  # by its numbers
    half = {name: count // 2 for name, count in RAFDB_TEST.counts.items()}
    assert nearest(half, RAFDB, is_train=False) is RAFDB_TEST
    assert nearest(half, RAFDB, is_train=True) is RAFDB_TRAIN
    few = dict.fromkeys(AFFECTNET_VAL.counts, 3)
    assert nearest(few, AFFECTNET, is_train=None) is AFFECTNET_VAL
    assert nearest({"happy": 5, "sad": 0}, ALL, is_train=None) is None
