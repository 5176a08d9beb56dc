"""The balanced draw and the stream of batches."""

from collections import Counter

import numpy as np
import pytest

from face2exp_lib.errors import Face2ExpError
from face2exp_lib.sampling import StepBatches, balanced_draw, class_counts

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
    with pytest.raises(Face2ExpError, match="class 'fear' has no image for the validation draw"):
        balanced_draw(LABELS[:70], NAMES, per_class=None, seed=0, purpose="validation")


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
