"""The balanced draw and the stream of batches."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from face2exp_lib.data.sampling import (
    BalancedBatches,
    StepBatches,
    balanced_draw,
    class_counts,
    images_per_class,
    missing_classes,
    proportional_draw,
)
from face2exp_lib.data.sets.labels import CODES, class_names
from face2exp_lib.runtime.errors import Face2ExpError

NAMES = ("neutral", "happy", "fear")
LABELS = np.repeat([1, 0, 2], [50, 20, 7])


def draw(**changes: object) -> np.ndarray:
    options = {"per_class": 5, "seed": 0, "purpose": "training", **changes}
    return balanced_draw(LABELS, NAMES, **options)  # type: ignore[arg-type]


def test_class_counts_in_class_order_with_zeros() -> None:
    counts = class_counts(np.array([2, 0, 2]), NAMES)
    assert list(counts.items()) == [("neutral", 1), ("happy", 0), ("fear", 2)]


def test_draw_is_balanced_without_repeats_and_sorted() -> None:
    drawn = draw()
    assert np.bincount(LABELS[drawn]).tolist() == [5, 5, 5]
    assert len(set(drawn)) == 15
    assert drawn.tolist() == sorted(drawn)


def test_draw_of_the_whole_smallest_class() -> None:
    for per_class in (None, 7):
        drawn = draw(per_class=per_class)
        assert np.bincount(LABELS[drawn]).tolist() == [7, 7, 7]
        assert set(np.flatnonzero(LABELS == 2)) <= set(drawn)


def test_draw_depends_on_seed_and_purpose_and_on_nothing_else() -> None:
    np.random.seed(1)  # noqa: NPY002 - the global generator must not matter
    first = draw()
    np.random.seed(2)  # noqa: NPY002
    assert (draw() == first).all()
    assert (draw(seed=1) != first).any()
    assert (draw(purpose="validation") != first).any()


def test_a_class_is_drawn_the_same_when_others_grow() -> None:
    """Each class has a generator of its own."""
    more = np.concatenate([LABELS, np.zeros(100, np.int64)])
    drawn = balanced_draw(more, NAMES, per_class=5, seed=0, purpose="training")
    first = draw()
    assert drawn[more[drawn] == 1].tolist() == first[LABELS[first] == 1].tolist()


def test_every_image_of_a_class_can_be_drawn() -> None:
    seen: set[int] = set()
    for seed in range(60):
        seen |= set(draw(seed=seed).tolist())
    assert seen == set(range(len(LABELS)))


def test_too_few_and_none() -> None:
    with pytest.raises(
        Face2ExpError,
        match="'fear' has 7 images, the training draw wants 8 of each class: ask for at most 7",
    ):
        draw(per_class=8)
    with pytest.raises(Face2ExpError, match="no image is left for the validation draw: add some"):
        balanced_draw(LABELS[:0], NAMES, per_class=None, seed=0, purpose="validation")


def test_a_class_that_is_not_there_is_not_drawn_and_changes_no_other() -> None:
    assert missing_classes(LABELS, NAMES) == []
    there = LABELS[NAMES.index("fear") != LABELS]
    assert missing_classes(there, NAMES) == ["fear"]
    drawn = balanced_draw(there, NAMES, per_class=5, seed=0, purpose="training")
    counts = class_counts(there[drawn], NAMES)
    assert counts == {name: 0 if name == "fear" else 5 for name in NAMES}
    first = NAMES.index("fear")
    of_all = [row for row in draw(per_class=5).tolist() if LABELS[row] < first]
    assert [row for row in drawn.tolist() if there[row] < first] == of_all


# The paper's draws, from the published counts alone: AffectNet's in the order of its codes 0..7,
# RAF-DB's in that of its codes 1..7.
AFFECTNET = (74_874, 134_415, 25_459, 14_090, 6_378, 3_803, 24_882, 3_750)
RAFDB = (1_290, 281, 717, 4_772, 1_982, 705, 2_524)


def published(counts: tuple[int, ...], codes: str, num_classes: int) -> np.ndarray:
    labels = np.repeat([int(label) for label in CODES[codes].values()], counts)
    return labels[labels < num_classes]


AFFECTNET_8 = published(AFFECTNET, "affectnet", 8)
AFFECTNET_7 = published(AFFECTNET, "affectnet", 7)
RAFDB_7 = published(RAFDB, "rafdb", 7)


def smp(labels: np.ndarray, num_classes: int, per_class: int | None) -> np.ndarray:
    names = class_names(num_classes)
    return balanced_draw(labels, names, per_class=per_class, seed=0, purpose="training")


def test_published_counts() -> None:
    assert (len(AFFECTNET_8), len(AFFECTNET_7), len(RAFDB_7)) == (287_651, 283_901, 12_271)


@pytest.mark.parametrize(
    ("num_classes", "per_class", "size"),
    [
        (8, 3_576, 28_608),  # the paper's "28,608 images, only 10 % of AffectNet"
        (7, 3_576, 25_032),  # the same less contempt
        (7, None, 26_621),  # the largest of 7 classes: 7 x 3,803 of disgust
        (8, None, 30_000),
        (7, 1_788, 12_516),  # 5 %: half of 3,576
        (7, 357, 2_499),  # 1 %
    ],
)
def test_the_papers_balanced_draws(num_classes: int, per_class: int | None, size: int) -> None:
    labels = AFFECTNET_8 if num_classes == 8 else AFFECTNET_7
    drawn = smp(labels, num_classes, per_class)
    assert len(set(drawn.tolist())) == size
    assert set(np.bincount(labels[drawn]).tolist()) == {size // num_classes}


def test_draw_of_seven_classes_is_that_of_eight_less_contempt() -> None:
    is_seven = np.flatnonzero(AFFECTNET_8 < 7)
    eight, seven = smp(AFFECTNET_8, 8, 3_576), smp(AFFECTNET_8[is_seven], 7, 3_576)
    assert is_seven[seven].tolist() == eight[AFFECTNET_8[eight] < 7].tolist()


def test_ten_percent_over_seven_classes_is_impossible() -> None:
    """28,608 = 7 x 4,086.9, and floor(283,901 / 10 / 7) = 4,055: disgust has fewer."""
    message = "'disgust' has 3803 images, the training draw wants 4055 of each class"
    with pytest.raises(Face2ExpError, match=message):
        smp(AFFECTNET_7, 7, images_per_class(len(AFFECTNET_7), 10, 7))


@pytest.mark.parametrize(
    ("num_images", "percent", "num_classes", "per_class"),
    [
        (287_651, 10, 8, 3_595),
        (287_651, 5, 8, 1_797),
        (287_651, 1, 8, 359),
        (283_901, 1, 7, 405),
        # the numbers of images of which 10 % are the paper's 3,576
        (286_079, 10, 8, 3_575),
        (286_080, 10, 8, 3_576),
        (286_159, 10, 8, 3_576),
        (286_160, 10, 8, 3_577),
        (100, 29, 1, 29),  # 29 / 100 * 100 is less than 29 in floating point
        (80, 100, 8, 10),
        (800, 1, 8, 1),
    ],
)
def test_images_per_class(
    num_images: int, percent: float, num_classes: int, per_class: int
) -> None:
    assert images_per_class(num_images, percent, num_classes) == per_class


def test_less_than_one_of_each_class() -> None:
    with pytest.raises(Face2ExpError, match="1 % of 799 images are less than one of each of 8"):
        images_per_class(799, 1, 8)


def proportional(percent: float, labels: np.ndarray = RAFDB_7, **changes: object) -> np.ndarray:
    options = {"percent": percent, "ratios": "exact", "seed": 0, "purpose": "training", **changes}
    return proportional_draw(labels, class_names(7), **options)  # type: ignore[arg-type]


# neutral, happy, surprise, sad, anger, disgust, fear. The quarters are 631, 1,193, 322.5, 495.5,
# 176.25, 179.25 and 70.25, and 3,067 leave one to go up: the first of the largest remainders. So
# do the halves, 352.5, 358.5 and 140.5 of the last three, with 6,135.
@pytest.mark.parametrize(
    ("percent", "counts"),
    [
        (25, [631, 1_193, 323, 495, 176, 179, 70]),
        (50, [1_262, 2_386, 645, 991, 353, 358, 140]),
        (100, [2_524, 4_772, 1_290, 1_982, 705, 717, 281]),
    ],
)
def test_the_papers_unbalanced_draws_keep_the_ratios(percent: float, counts: list[int]) -> None:
    """RAF-DB's classes by hand; the total is floor(percent of 12,271)."""
    drawn = proportional(percent)
    assert np.bincount(RAFDB_7[drawn]).tolist() == counts
    assert len(set(drawn.tolist())) == sum(counts) == 12_271 * percent // 100
    assert drawn.tolist() == sorted(drawn)


def test_random_ratios_have_the_same_size_and_other_classes() -> None:
    drawn = proportional(25, ratios="random")
    assert len(set(drawn.tolist())) == 3_067
    counts = [
        np.bincount(RAFDB_7[proportional(25, ratios="random", seed=seed)]).tolist()
        for seed in range(5)
    ]
    assert len({tuple(of_seed) for of_seed in counts}) == 5
    assert np.allclose(np.mean(counts, axis=0), np.bincount(RAFDB_7) / 4, rtol=0.1)


@pytest.mark.parametrize("ratios", ["exact", "random"])
def test_proportional_draw_depends_on_seed_and_purpose_alone(ratios: str) -> None:
    first = proportional(25, ratios=ratios)
    assert (proportional(25, ratios=ratios) == first).all()
    assert (proportional(25, ratios=ratios, seed=1) != first).any()
    assert (proportional(25, ratios=ratios, purpose="validation") != first).any()


@pytest.mark.parametrize("ratios", ["exact", "random"])
def test_a_class_that_a_small_share_leaves_out_is_named(ratios: str) -> None:
    labels = np.repeat([0, 1], [997, 3])
    message = r"class 'happy' has 3 images, and 0\.1 % of all leave the training draw none of them"
    with pytest.raises(Face2ExpError, match=message):
        proportional(0.1, labels, ratios=ratios)


def batches(num_samples: int, batch_size: int, start: int, stop: int, **changes: object) -> list:
    options = {"seed": 0, "stream": "fer", **changes}
    sampler = StepBatches(num_samples, batch_size, start=start, stop=stop, **options)  # type: ignore[arg-type]
    assert len(sampler) == stop - start
    return list(sampler)


def test_every_sample_comes_once_a_pass_even_where_passes_share_a_batch() -> None:
    stream = [index for batch in batches(10, 4, 0, 10) for index in batch]
    assert len(stream) == 40
    passes = [stream[i : i + 10] for i in range(0, 40, 10)]
    assert all(sorted(one) == list(range(10)) for one in passes)
    assert len({tuple(one) for one in passes}) == 4  # each in another order


def test_batch_t_does_not_depend_on_where_one_starts() -> None:
    whole = batches(10, 4, 0, 12)
    for start in range(12):
        assert batches(10, 4, start, 12) == whole[start:]


def test_a_set_smaller_than_a_batch_fills_it() -> None:
    (batch,) = batches(3, 8, 5, 6)
    assert len(batch) == 8
    assert max(Counter(batch).values()) <= 4  # two whole passes and parts of two others


def test_streams_and_seeds_differ() -> None:
    first = batches(50, 10, 0, 5)
    assert batches(50, 10, 0, 5) == first
    assert batches(50, 10, 0, 5, stream="fr") != first
    assert batches(50, 10, 0, 5, seed=1) != first


def test_no_step_no_batch() -> None:
    assert batches(10, 4, 3, 3) == []


LONG_TAILED = np.array([0] * 20 + [1] * 6 + [2] * 3)


def balanced_batches(
    batch_size: int, start: int, stop: int, *, seed: int = 0, stream: str = "fer"
) -> list[list[int]]:
    return list(
        BalancedBatches(LONG_TAILED, batch_size, start=start, stop=stop, seed=seed, stream=stream)
    )


def test_balanced_batches_hold_every_class_alike() -> None:
    for batch in balanced_batches(6, 0, 20):
        assert np.bincount(LONG_TAILED[batch]).tolist() == [2, 2, 2]


def test_balanced_batches_of_another_size_are_balanced_over_time() -> None:
    drawn = balanced_batches(4, 0, 30)
    assert np.bincount(LONG_TAILED[[i for batch in drawn for i in batch]]).tolist() == [40] * 3


def test_a_class_runs_through_all_its_samples_before_one_returns() -> None:
    drawn = [i for batch in balanced_batches(6, 0, 30) for i in batch]  # 60 of each class
    assert set(Counter(drawn).values()) == {3, 10, 20}
    rare = [i for i in drawn if LONG_TAILED[i] == 2]
    passes = [tuple(rare[i : i + 3]) for i in range(0, 60, 3)]
    assert all(sorted(one) == [26, 27, 28] for one in passes)
    assert len(set(passes)) > 1


def test_balanced_batch_t_does_not_depend_on_where_one_starts() -> None:
    whole = balanced_batches(4, 0, 12)
    for start in range(12):
        assert balanced_batches(4, start, 12) == whole[start:]


def test_balanced_streams_and_seeds_differ() -> None:
    first = balanced_batches(6, 0, 5)
    assert balanced_batches(6, 0, 5) == first
    assert balanced_batches(6, 0, 5, stream="other") != first
    assert balanced_batches(6, 0, 5, seed=1) != first

    def of_the_common_class(**changes: Any) -> list[int]:
        drawn = (i for batch in balanced_batches(6, 0, 5, **changes) for i in batch)
        return [i for i in drawn if LONG_TAILED[i] == 0]

    orders = [of_the_common_class(**how) for how in ({}, {"seed": 1}, {"stream": "other"})]
    assert len({tuple(order) for order in orders}) == 3
    assert len(BalancedBatches(LONG_TAILED, 6, start=2, stop=5, seed=0, stream="fer")) == 3
