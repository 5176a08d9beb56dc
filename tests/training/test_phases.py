"""Rates, and what a phase runs through its networks."""

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from face2exp_lib.augmentation.draw import View
from face2exp_lib.augmentation.patches import AugOptions, draw_aug
from face2exp_lib.config import RunConfig
from face2exp_lib.data.batches import DecodedFaces, ordered_batches
from face2exp_lib.data.formats.folders import read_class_folders, read_identity_folders
from face2exp_lib.data.sets.landmarks import CANONICAL_POINTS
from face2exp_lib.methods.cost import learning
from face2exp_lib.methods.meta_face2exp import META
from face2exp_lib.methods.supervised import SUPERVISED
from face2exp_lib.networks import build_network
from face2exp_lib.training.phases import DRAW, Phase, Rate
from face2exp_lib.training.plans import plan_run
from tests.run_data import run_data

Tiny = Callable[..., RunConfig]
BOTH = "base adaptation"


def test_cosine_decays_from_eta_to_zero() -> None:
    rate = Rate(0.4)
    assert rate.at(0, 100) == 0.4
    assert rate.at(50, 100) == pytest.approx(0.2)
    assert rate.at(25, 100) == pytest.approx(0.2 * (1 + math.sqrt(0.5)))
    assert 0 < rate.at(99, 100) < 0.4 * 3e-4
    assert rate.at(100, 100) == 0


def test_a_rate_rises_in_a_line_and_ends_where_it_is_told() -> None:
    rate = Rate(0.4, rise_steps=3, last=0.25)
    flat = Rate(0.4, last=0.25)
    shares = [rate.at(step, 100) / flat.at(step, 100) for step in range(6)]
    assert shares == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])
    assert flat.at(0, 100) == 0.4
    assert flat.at(50, 100) == pytest.approx(0.25)  # half way between 0.4 and 0.1
    assert flat.at(100, 100) == pytest.approx(0.1)


def test_rise_and_end_are_of_all_rates_but_the_fine_tune(tiny: Tiny, squares_root: Path) -> None:
    config = tiny("training.eta_rise_steps=2", "training.eta_last=0.5")
    plan = plan_run(config, run_data(config, squares_root), torch.device("cpu"))
    found = {
        (phase.name, rate.rise_steps, rate.last)
        for phase in plan.phases
        for rate in phase.rates.values()
    }
    assert found == {("warm_start", 2, 0.5), ("meta", 2, 0.5), ("finetune", 0, 0.0)}


def test_fixed_rate() -> None:
    assert {Rate(1e-5, decays=False).at(step, 100) for step in (0, 50, 99)} == {1e-5}


@pytest.fixture
def make_phase(tiny: Tiny, squares_root: Path) -> Callable[..., Phase]:
    fer = DecodedFaces(
        read_class_folders(squares_root / "squares", "train", "names"), 40, in_memory=True
    )
    fr = DecodedFaces(read_identity_folders(squares_root, "people", ""), 40, in_memory=True)

    def make(*changes: str, networks: str = BOTH, meta: bool = True) -> Phase:
        built: dict[str, nn.Module] = {
            name: build_network("small", 7, pretrained=False, seed=index)
            for index, name in enumerate(networks.split())
        }
        rates = {name: Rate(0.05) for name in built}
        config = tiny(*changes)
        if meta:
            passes = META.cost(config.meta, 6, 5)
            return Phase("phase", 4, config, built, rates, META.step, config.meta, passes, fer, fr)
        passes = learning(6 * len(built))
        return Phase("phase", 4, config, built, rates, SUPERVISED.step, None, passes, fer)

    return make


@pytest.mark.parametrize(
    ("changes", "networks", "meta", "expected"),
    [
        # B on 5 x_FR, A on 5 x_FR, A on 6 x_FER, B on 6 x_FER, B on 5 Aug(x_FR)
        ([], BOTH, True, {"base": 16, "adaptation": 11}),
        (["meta.adaptation_view=augmented"], BOTH, True, {"base": 16, "adaptation": 11}),
        # and once more B on 5 x_FR
        (["meta.consistency_target=moving"], BOTH, True, {"base": 21, "adaptation": 11}),
        # A on x_FER before its step as well, or not at all
        (["meta.feedback=finite_difference"], BOTH, True, {"base": 16, "adaptation": 17}),
        (["meta.feedback=jvp"], BOTH, True, {"base": 16, "adaptation": 11}),
        (["meta.feedback=none"], BOTH, True, {"base": 16, "adaptation": 5}),
        ([], BOTH, False, {"base": 6, "adaptation": 6}),
        ([], "base", False, {"base": 6}),
        ([], "adaptation", False, {"adaptation": 6}),
    ],
)
def test_image_passes_are_what_goes_through_the_networks(
    make_phase: Callable[..., Phase],
    changes: list[str],
    networks: str,
    meta: bool,
    expected: dict[str, int],
) -> None:
    phase = make_phase(*changes, networks=networks, meta=meta)
    counted: Counter[str] = Counter()

    def count(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            counted[name] += len(inputs[0])

        return hook

    for name, network in phase.networks.items():
        network.register_forward_pre_hook(count(name))
    next(phase.steps(0))
    assert counted == expected
    # A forward-mode derivative is one pass that counts as three.
    wider = 2 * 6 if "meta.feedback=jvp" in changes else 0
    assert phase.all_passes.forward == 4 * (sum(expected.values()) + wider)


def test_a_phase_takes_all_its_steps_and_sets_the_rate_of_each(
    make_phase: Callable[..., Phase],
) -> None:
    phase = make_phase()
    rates = [phase.optimisers["base"].param_groups[0]["lr"] for _ in phase.steps(0)]
    assert rates == pytest.approx([0.05 * 0.5 * (1 + math.cos(math.pi * t / 4)) for t in range(4)])


def test_a_phase_begun_in_the_middle_sees_the_batches_and_views_of_an_unbroken_one(
    make_phase: Callable[..., Phase],
) -> None:
    def inputs(start: int) -> list[torch.Tensor]:
        phase = make_phase()
        seen: list[torch.Tensor] = []
        for network in phase.networks.values():
            network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
        assert len(list(phase.steps(start))) == 4 - start
        return seen

    whole, rest = inputs(0), inputs(2)
    assert len(whole) == 4 * 5
    assert all(torch.equal(a, b) for a, b in zip(whole[10:], rest, strict=True))
    assert not torch.equal(whole[0], rest[0])


def test_each_step_and_each_kind_of_image_has_a_view_of_its_own(
    make_phase: Callable[..., Phase],
) -> None:
    phase = make_phase()
    faces = next(ordered_batches(phase.labelled, 5, 0))
    views = [
        phase._view(faces, kind, purpose, step)
        for kind, purpose, step in (
            ("conventional", "fr", 0),
            ("conventional", "fr", 1),
            ("conventional", "fer", 0),
            ("extensive", "fr", 0),
            ("aug", "fr", 0),
        )
    ]
    for index, first in enumerate(views):
        assert first.shape == (5, 3, 32, 32)
        assert not any(torch.allclose(first, second) for second in views[index + 1 :])
    assert torch.equal(phase._view(faces, "conventional", "fr", 0), views[0])


@pytest.mark.parametrize("view_fer", ["conventional", "extensive"])
def test_only_the_augmented_faces_are_processed_extensively(
    make_phase: Callable[..., Phase], monkeypatch: pytest.MonkeyPatch, view_fer: str
) -> None:
    """x_FER as the config says, x_FR conventionally, Aug(x_FR) in full; 32 of 40 px."""
    drawn: list[tuple[str, int, float]] = []

    def watched(kind: str, draw: Callable[..., View]) -> Callable[..., View]:
        def record(number: int, generator: torch.Generator, *, crop_fraction: float) -> View:
            drawn.append((kind, number, crop_fraction))
            return draw(number, generator, crop_fraction=crop_fraction)

        return record

    for kind, draw in list(DRAW.items()):
        monkeypatch.setitem(DRAW, kind, watched(kind, draw))

    def watched_aug(
        landmarks: torch.Tensor,
        generator: torch.Generator,
        options: AugOptions,
        *,
        crop_fraction: float,
        stored_size: int,
    ) -> View:
        assert torch.allclose(landmarks, 40 * torch.tensor(CANONICAL_POINTS))
        assert (stored_size, options) == (40, AugOptions(patches="cover"))
        drawn.append(("aug", len(landmarks), crop_fraction))
        return draw_aug(
            landmarks, generator, options, crop_fraction=crop_fraction, stored_size=stored_size
        )

    monkeypatch.setattr("face2exp_lib.training.phases.draw_aug", watched_aug)
    next(make_phase(f"training.view_fer={view_fer}", "aug.patches=cover").steps(0))
    assert drawn == [(view_fer, 6, 0.8), ("conventional", 5, 0.8), ("aug", 5, 0.8)]
    drawn.clear()
    next(make_phase(f"training.view_fer={view_fer}", meta=False).steps(0))
    assert drawn == [(view_fer, 6, 0.8)]


def test_networks_are_put_into_training_mode(make_phase: Callable[..., Phase]) -> None:
    phase = make_phase()
    for network in phase.networks.values():
        network.eval()
    next(phase.steps(0))
    assert all(network.training for network in phase.networks.values())


def test_optimisers_have_the_momentum_and_decay_that_were_asked_for(
    tiny: Tiny, make_phase: Callable[..., Phase]
) -> None:
    phase = make_phase("training.weight_decay=0.01")
    phase.rates["base"] = Rate(0.05, momentum=0.9)
    phase.__post_init__()
    assert phase.optimisers["base"].param_groups[0]["momentum"] == 0.9
    assert phase.optimisers["adaptation"].param_groups[0]["momentum"] == 0
    assert phase.optimisers["base"].param_groups[0]["weight_decay"] == 0.01


def test_a_step_knows_where_its_views_show_the_points(make_phase: Callable[..., Phase]) -> None:
    """Black faces with a white spot at the nose, whose place in the view is measured."""
    phase = make_phase(networks="base", meta=False)
    decoded = phase.labelled.decoded
    assert decoded is not None
    images, landmarks = (values.clone() for values in decoded)
    images.zero_()
    for index, (column, row) in enumerate(landmarks[:, 2].long().tolist()):
        column, row = column + index % 5 - 2, row - index % 7
        landmarks[index, 2] = torch.tensor([column + 0.5, row + 0.5])
        images[index, :, row - 1 : row + 2, column - 1 : column + 2] = 255
    phase.labelled.decoded = images, landmarks
    seen = 0
    for given, _ in phase.steps(0):
        light = given.batch.x_fer.mean(1)
        light = light - light.amin((1, 2), keepdim=True)
        grid = (torch.arange(32) + 0.5) / 32
        total = light.sum((1, 2))
        x, y = (light.sum(1) * grid).sum(1) / total, (light.sum(2) * grid).sum(1) / total
        assert torch.allclose(given.points_fer[:, 2], torch.stack([x, y], 1), atol=0.5 / 32)
        seen += len(x)
    assert seen == 24
