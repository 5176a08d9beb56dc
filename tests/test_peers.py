"""What compares our rivals with USB's (`benchmarks/peers.py`), as far as it goes without USB, and
what it wrote down."""

import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn

from benchmarks import peer_steps, peers, usb
from benchmarks.side_by_side import Measurement
from face2exp_lib.methods import METHODS
from face2exp_lib.networks import build_network
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import read_json
from face2exp_lib.training.phases import Phase, Rate

STORED = Path(__file__).parents[1] / "results" / "benchmarks" / "peers.json"


def timed(*seconds: float) -> Measurement:
    return Measurement(list(seconds), None, 0, None)


@pytest.mark.parametrize("module", ["semilearn", "semilearn.core.utils"])
def test_without_usb_the_line_that_installs_it_is_named(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "semilearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "semilearn", None)  # as if it were not installed
    with pytest.raises(Face2ExpError, match=r"`pip install semilearn==0\.3\.2`"):
        usb.semilearn(module)


def test_without_usb_the_benchmark_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(usb, "version", missing)
    monkeypatch.setattr(sys, "argv", ["peers", "--only", "losses"])
    with pytest.raises(Face2ExpError, match=r"not installed: `pip install semilearn==0\.3\.2`"):
        peers.main()


def test_how_far_apart_by_hand() -> None:
    """USB moves (1, 2) to (1.5, 6), we to (1.5, 5): 1 of its largest change, 4."""
    assert peer_steps.relative(3.0, 4.0) == 0.25
    before, ours, theirs = torch.tensor([[1.0, 2.0], [1.5, 5.0], [1.5, 6.0]])
    assert peer_steps.apart(ours, theirs, before) == 0.25
    assert peer_steps.apart(theirs, theirs, before) == 0.0


def test_mean_of_steps_by_hand() -> None:
    one, other = (
        peer_steps.Taken(loss, {"weights": torch.tensor(weights)}, kept=0.5)
        for loss, weights in ((1.0, [0.0, 4.0]), (2.0, [2.0, 0.0]))
    )
    found = peer_steps.mean_of([one, other])
    assert (found.loss, found.kept) == (1.5, 0.5)
    assert found.vectors["weights"].tolist() == [1.0, 2.0]


def test_times_by_hand() -> None:
    """Medians of ratios turn by turn; views are held against views."""
    found = {
        "ours": timed(1.0, 2.0, 1.0),
        "usb": timed(2.0, 3.0, 3.0),
        "our_views": timed(0.5, 0.5, 0.5),
        "usb_views": timed(2.0, 2.0, 2.0),
    }
    rows = peers.table(found)
    assert rows["usb"] == {"seconds": 3.0, "times_ours": [2.0, 1.5, 3.0]}
    assert rows["usb_views"]["times_ours"] == [4.0, 4.0, 4.0]
    assert peers.whole(found) == {"with_views_times_ours": round(5 / 1.5, 3)}


def test_images_a_second_as_a_ratio() -> None:
    ours = {"images_per_second": 30.0, "images_per_cpu_second": 45.0}
    theirs = {"images_per_second": 20.0, "images_per_cpu_second": 36.0}
    assert peers.faster({"ours": ours, "usb": theirs}) == {
        "images_per_second_ratio": 1.5,
        "images_per_cpu_second_ratio": 1.25,
    }


def test_sides_of_the_same_run_may_be_measured_at_different_times() -> None:
    speed = {"images_per_second": 30.0, "images_per_cpu_second": 30.0}
    first = peers.joined({"num_steps": 5, "sides": {"ours": speed}}, {})
    assert first == {"num_steps": 5, "sides": {"ours": speed}}
    found = peers.joined({"num_steps": 5, "sides": {"usb": speed}}, first)
    assert found["sides"] == {"ours": speed, "usb": speed}
    assert found["images_per_second_ratio"] == 1.0
    another = peers.joined({"num_steps": 6, "sides": {"usb": speed}}, first)
    assert another == {"num_steps": 6, "sides": {"usb": speed}}


def test_both_sides_have_the_same_settings() -> None:
    config = peers.settled(num_steps=30)
    found, training = peers.settings(config), config.training
    assert training.num_steps == training.eval_every_steps == 30
    assert found["batch_size"] * found["uratio"] == training.batch_size_fr == 112
    assert (found["lr"], found["momentum"]) == (training.eta_b, training.momentum_b)
    assert found["num_train_iter"] == found["num_eval_iter"] == 30
    assert peers.seen(config) == 30 * (16 + 112)


def test_usb_is_given_our_rates() -> None:
    config, rate = peers.settled(num_steps=10), Rate(0.03, 0.9, last=0.2)
    phase = cast(Phase, SimpleNamespace(rates={"base": rate}))
    network = nn.Linear(2, 2)
    optimiser, scheduler = peers.our_optimiser(config, phase)(network)
    for step in range(10):
        group: dict[str, Any] = optimiser.param_groups[0]
        assert group["lr"] == pytest.approx(rate.at(step, 10))
        assert (group["momentum"], group["nesterov"]) == (0.9, False)
        optimiser.step()
        scheduler.step()


def test_a_backbone_of_ours_in_usbs_form() -> None:
    network = build_network("small", 7, pretrained=False, seed=0).eval()
    form, x = usb.UsbForm(network), torch.randn(2, 3, 32, 32)
    both = form(x)
    assert torch.equal(both["logits"], network(x))
    assert torch.equal(form(x, only_feat=True), both["feat"])
    assert torch.equal(form(both["feat"], only_fc=True), both["logits"])
    assert form.num_features == both["feat"].shape[1]


@pytest.mark.parametrize("stored_norm", [False, True])
def test_some_guesses_count_and_some_do_not(stored_norm: bool) -> None:
    (batch,) = peer_steps.noise(1)
    network = peer_steps.start(stored_norm=stored_norm)
    with torch.no_grad():
        confident = network(batch.x_fr).softmax(1).amax(1) >= 0.95
    assert 0 < confident.sum() < len(confident)
    assert network.training is not stored_norm


def test_what_was_written_down_is_what_the_cases_say() -> None:
    """And each method has a case in which both sides agree."""
    rows = read_json(STORED)["losses"]["cases"]
    told = {(row["method"], row["case"]): row for row in rows}
    assert len(told) == len(peer_steps.CASES)
    for case in peer_steps.CASES:
        row = told[case.method, case.name]
        assert (row["agrees"], row["says"]) == (case.agrees, case.says)
        assert (row["loss_apart"] < peer_steps.EXACT) >= case.agrees
    agreed = {case.method for case in peer_steps.CASES if case.agrees}
    assert agreed == set(peer_steps.NAMES) == {case.method for case in peer_steps.CASES}
    assert agreed <= set(METHODS)
