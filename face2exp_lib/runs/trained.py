"""The network that a finished run left behind."""

from pathlib import Path
from typing import Any

from face2exp_lib.config import RunConfig, load_config
from face2exp_lib.networks import FaceNetwork, build_network, choose_device
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.training.starts import in_form
from face2exp_lib.training.stored_weights import load_checkpoint


def load_trained(run_dir: Path | str) -> tuple[RunConfig, FaceNetwork, dict[str, Any]]:
    """A run's configuration, its network for inference (A, a student, or the only one) and the
    entries of its best checkpoint.

    Raises:
        Face2ExpError: if the folder is no run directory or the checkpoint is broken.
    """
    run_dir = Path(run_dir)
    if not (run_dir / "config.yaml").is_file():
        raise Face2ExpError(f"{run_dir}: no run directory: `face2exp train` makes one")
    config = load_config(run_dir / "config.yaml")
    path = run_dir / "checkpoints" / "best.pt"
    state = load_checkpoint(path, {"network", "step"})
    backbone = build_network(
        config.network.backbone, config.data.num_classes, pretrained=False, seed=config.seed
    )
    network = in_form(config, backbone, config.seed)
    try:
        network.load_state_dict(state["network"])
    except (AttributeError, RuntimeError, TypeError) as error:
        raise Face2ExpError(
            f"{path}: its weights do not fit {run_dir / 'config.yaml'}: one of the two belongs to "
            "another run"
        ) from error
    device = choose_device(config.device)
    return config, network.to(device), state
