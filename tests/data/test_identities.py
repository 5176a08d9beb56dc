"""Persons as classes: who is held out, who is left out, and what a set has to say."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from face2exp_lib.data.identities import some_identities, split_identities
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.runtime.errors import Face2ExpError


class Named:
    """Images of which nothing but their names is looked at."""

    holds_files = False

    def __init__(self, ids: list[str]) -> None:
        self.ids = ids


def faces(**images: int) -> FaceSet:
    """As many images of each person, mixed up."""
    names = [name for name, count in images.items() for _ in range(count)]
    order = np.random.default_rng(0).permutation(len(names))
    identities = np.array(names)[order]
    ids = [f"{name}-{row}" for row, name in enumerate(identities)]
    return FaceSet("people", Named(ids), np.arange(len(ids)), identities=identities)  # type: ignore[arg-type]


def test_each_person_is_in_both_parts() -> None:
    """A fifth, rounded down, but one in any case; who has one image is in neither."""
    people = faces(anna=10, bert=2, carl=1, dora=14, emil=1)
    found = split_identities(people, 0.2, seed=3)
    assert (found.number, found.alone) == (3, 2)
    held, train = (
        Counter(image.split("-")[0] for image in part.ids) for part in (found.held_out, found.train)
    )
    assert held == {"anna": 2, "bert": 1, "dora": 2}
    assert train == {"anna": 8, "bert": 1, "dora": 12}
    assert not set(found.held_out.ids) & set(found.train.ids)
    for part in (found.train, found.held_out):
        numbers = {"anna": 0, "bert": 1, "dora": 2}
        assert [numbers[image.split("-")[0]] for image in part.ids] == part.known_labels().tolist()
        assert np.array_equal(part.identities, [image.split("-")[0] for image in part.ids])  # type: ignore[arg-type]


def test_the_draw_is_the_seed_s() -> None:
    people = faces(anna=10, bert=12)
    first, again, other = (split_identities(people, 0.5, seed).held_out.ids for seed in (0, 0, 1))
    assert first == again != other


def test_nothing_held_out_is_still_one_each() -> None:
    assert len(split_identities(faces(anna=3, bert=3), 0.0, 0).held_out) == 2


def test_labels_of_expressions_are_not_read() -> None:
    people = faces(anna=3, bert=3)
    labelled = replace(people, labels=np.full(6, 5))
    assert set(split_identities(labelled, 0.2, 0).train.known_labels().tolist()) == {0, 1}


def test_sets_that_do_not_serve() -> None:
    for people, number in ((faces(anna=1, bert=1), "0 of its 2"), (faces(anna=3, b=1), "1 of its")):
        with pytest.raises(Face2ExpError, match=f"people: {number} .*persons have two images"):
            split_identities(people, 0.2, 0)
    with pytest.raises(Face2ExpError, match=r"people: does not say whose faces .* CelebA"):
        split_identities(replace(faces(anna=3), identities=None), 0.2, 0)


def test_some_persons_come_with_all_their_images() -> None:
    held = split_identities(faces(anna=8, bert=8, carl=8), 0.5, 0).held_out
    some = some_identities(held, 9, seed=0)
    assert sorted(Counter(some.known_labels().tolist()).values()) == [4, 4]
    assert len(some_identities(held, 2, seed=0)) == 4
    assert len(some_identities(held, 99, seed=0)) == 12
    drawn = {tuple(some_identities(held, 4, seed=seed).ids) for seed in range(20)}
    assert len(drawn) == 3
