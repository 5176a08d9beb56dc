"""Label smoothing of L_s: by hand, and in every method that has it."""

import math
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from face2exp_lib.config import RunConfig
from face2exp_lib.methods import METHODS
from face2exp_lib.methods.dmue import Auxiliaries
from face2exp_lib.methods.passes import labelled_loss
from face2exp_lib.methods.uda import annealed_loss
from face2exp_lib.training.plans import initial_form, plan_run
from tests.methods.nets import rows
from tests.run_data import run_data

Tiny = Callable[..., RunConfig]
ITS_OWN = ("meta", "meta_pseudo_labels")
PHASES = [
    *((name, -1, METHODS[name].networks[-1]) for name in METHODS if name not in ITS_OWN),
    ("meta", 0, "base"),
    ("meta", 1, "base"),
    ("meta", -1, "adaptation"),
]


def test_a_smoothed_loss_by_hand() -> None:
    """Of probabilities 3/4 and 1/4 and a label spread by 0.2: 0.9 for its class, 0.1 for the
    other."""
    logits, labels = rows((math.log(3), 0.0)), torch.tensor([0])
    expected = -0.9 * math.log(3 / 4) - 0.1 * math.log(1 / 4)
    assert labelled_loss(0.2)(logits, labels).item() == pytest.approx(expected)
    assert annealed_loss(logits, labels, 1.0, 0.2).item() == pytest.approx(expected)
    assert torch.equal(labelled_loss(0.0)(logits, labels), F.cross_entropy(logits, labels))


@pytest.mark.parametrize(("method", "index", "name"), PHASES)
def test_a_phase_learns_from_smoothed_labels(
    tiny: Tiny, squares_root: Path, method: str, index: int, name: str
) -> None:
    """The loss of its first step is that of the first weights; D_FER is balanced, and so are
    the weights of its classes."""
    changes = (
        "noisy_student.rounds=1",
        "noisy_student.dropout=0",
        "noisy_student.threshold=0",
        "remixmatch.mixup=0",
    )
    config = tiny(f"method={method}", "training.label_smoothing=0.3", *changes)
    plan = plan_run(config, run_data(config, squares_root), torch.device("cpu"))
    beside = deepcopy(plan.networks)  # what scales the logits: of SCN, of DMUE
    given, losses = next(plan.phases[index].steps(0))
    network = initial_form(config, name)
    features, labels = network.features(given.batch.x_fer), given.batch.y_fer
    logits = network.head(features)
    if "importance" in beside:
        logits = logits * beside["importance"](features)[:, None]
    if isinstance(auxiliaries := beside.get("auxiliaries"), Auxiliaries):
        logits = logits * auxiliaries.confidence(features, labels, 7)[:, None]
    log_p = logits.log_softmax(1)
    plain, spread = -log_p.gather(1, labels[:, None]).mean(), -log_p.mean()
    expected = (0.7 * plain + 0.3 * spread).item()
    assert abs(plain.item() / expected - 1) > 1e-4
    assert losses["loss_s"].item() == pytest.approx(expected, rel=1e-5)
