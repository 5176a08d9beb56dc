"""What a run's networks begin from: fresh weights, published ones, or those of another run."""

import hashlib
from pathlib import Path
from typing import Any

from face2exp_lib.config import PUBLISHED, Network, RunConfig
from face2exp_lib.methods import METHODS
from face2exp_lib.methods.method import FormContext
from face2exp_lib.networks import FaceNetwork, build_network, must_take
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import read_json
from face2exp_lib.training.stored_weights import HEAD, read_backbone, weights_file


def initial_network(network: Network, num_classes: int, seed: int) -> FaceNetwork:
    """A network with its first weights. Those of the last layer are fresh ones in any case.

    Args:
        network: `pretrained` says where the others come from.
        num_classes: K.
        seed: of fresh weights.

    Raises:
        Face2ExpError: if they cannot be read or fetched, or are those of another backbone.
    """
    named = network.pretrained in PUBLISHED
    made = build_network(
        network.backbone,
        num_classes,
        pretrained=network.pretrained if named else "none",
        seed=seed,
    )
    if named:
        return made
    try:
        weights = read_backbone(network.pretrained)
    except Face2ExpError as error:
        raise Face2ExpError(f"network.pretrained: {error}") from error
    if weights.backbone != network.backbone:
        raise Face2ExpError(
            f"network.pretrained: {network.pretrained} holds weights of {weights.backbone}, and "
            f"network.backbone is {network.backbone}: set one of the two"
        )
    try:
        lacking, unknown = made.load_state_dict(weights.tensors, strict=False)
    except RuntimeError as error:  # of other shapes
        raise Face2ExpError(_do_not_fit(network)) from error
    if unknown or not all(name.startswith(HEAD) for name in lacking):
        raise Face2ExpError(_do_not_fit(network))
    return made


def in_form(config: RunConfig, network: FaceNetwork, seed: int) -> FaceNetwork:
    """A backbone's network in the form that the run's method trains and deploys.

    Args:
        seed: of what the form adds.

    Raises:
        Face2ExpError: if the backbone does not take the run's views, or lacks what the form needs.
    """
    method = METHODS[config.method]
    if method.form is None:
        return network
    options, data = getattr(config, config.method), config.data
    must_take(network, config.network.backbone, data.view_size)  # a form may look through it
    return method.form(FormContext(network, options, data.stored_size, data.view_size, seed))


def _do_not_fit(network: Network) -> str:
    return (
        f"network.pretrained: the weights in {network.pretrained} do not fit {network.backbone}: "
        "they are those of another version, or damaged"
    )


def where_it_began(network: Network) -> dict[str, Any]:
    """`pretrained` -> the file and its SHA-256, for a run's record; nothing for published weights,
    whose name says all.

    Raises:
        Face2ExpError: if the file is not there.
    """
    if network.pretrained in PUBLISHED:
        return {}
    try:
        with weights_file(network.pretrained).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (Face2ExpError, OSError) as error:
        raise Face2ExpError(f"network.pretrained: {error}") from error
    return {"pretrained": {"place": network.pretrained, "sha256": digest}}


def must_begin_there(run_dir: Path | str, began: dict[str, Any]) -> None:
    """Make sure that the weights which a run began from are what they were.

    Raises:
        Face2ExpError: if they have changed.
    """
    before = read_json(Path(run_dir) / "environment.json").get("pretrained", {})
    now = began.get("pretrained", {})
    if before.get("sha256", now.get("sha256")) != now.get("sha256"):
        raise Face2ExpError(
            f"{run_dir}: has begun from other weights than {now['place']} holds now: restore "
            "them, or choose another --run-dir"
        )
