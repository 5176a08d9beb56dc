"""Random numbers as a function of what they are for."""

import torch

from face2exp_lib.runtime.seeding import numpy_generator, torch_generator


def test_the_same_purpose_and_step_give_the_same_numbers() -> None:
    assert numpy_generator(3, "a", 7).integers(2**62) == numpy_generator(3, "a", 7).integers(2**62)
    first, second = (torch.rand(5, generator=torch_generator(3, "a", 7)) for _ in range(2))
    assert torch.equal(first, second)


def test_any_other_seed_purpose_or_step_gives_others() -> None:
    keys = [(3, "a", 7), (4, "a", 7), (3, "b", 7), (3, "a", 8), (7, "a", 3)]
    drawn = [torch.rand(5, generator=torch_generator(*key)) for key in keys]
    for i, first in enumerate(drawn):
        assert not any(torch.equal(first, second) for second in drawn[i + 1 :])


def test_numbers_that_a_change_of_the_scheme_would_move() -> None:
    """Runs made before such a change could not be resumed or repeated after it."""
    drawn = numpy_generator(0, "smp/training", 1).integers(1000, size=4).tolist()
    assert drawn == [211, 920, 691, 277]


def test_global_generators_are_left_alone() -> None:
    before = torch.get_rng_state()
    torch.rand(3, generator=torch_generator(0, "a", 1))
    assert torch.equal(torch.get_rng_state(), before)
