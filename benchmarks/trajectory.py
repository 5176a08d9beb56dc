"""What a network takes for what while it trains: confusion and some faces at every validation.

    python benchmarks/trajectory.py --json results/trajectory/meta.json
    python benchmarks/trajectory.py --json results/trajectory/supervised.json \\
        --set method=supervised training.num_steps=13000 training.eval_every_steps=650

Runs of `face2exp train` without a checkpoint kept; all numbers are of the validation part. The
book's chapter "Watch the bias go" shows them.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from face2exp_lib.config import RunConfig, dump_config, load_config
from face2exp_lib.data.batches import DecodedFaces
from face2exp_lib.data.splits import read_run_data
from face2exp_lib.evaluation.inference import predict_faces
from face2exp_lib.evaluation.metrics import count_confusions
from face2exp_lib.methods.passes import threads
from face2exp_lib.networks import choose_device
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.provenance import environment
from face2exp_lib.runtime.storage import write_json
from face2exp_lib.training.checkpoint import restore_state
from face2exp_lib.training.loop import Validation, take_steps
from face2exp_lib.training.plans import plan_run

FACES_OF_A_CLASS = 3


def followed(config: RunConfig, data_root: Path | None) -> dict[str, Any]:
    """Train, and tell of each validation the confusion (rows: truth) of every network and the
    probabilities that the deployed one gives to the first faces of each class, in percent."""
    made_with = environment()
    device = choose_device(config.device)
    data = read_run_data(config.data, config.seed, data_root)
    plan = plan_run(config, data, device)
    faces = DecodedFaces(data.validation, config.data.stored_size, in_memory=config.data.in_memory)
    truth, k = data.validation.known_labels(), config.data.num_classes
    shown = [int(i) for c in range(k) for i in np.flatnonzero(truth == c)[:FACES_OF_A_CLASS]]
    states: list[dict[str, Any]] = []

    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder)
        place = restore_state(run_dir, plan)
        steps_of_validations = config.training.eval_every_steps
        num_steps = sum(phase.num_steps for phase in plan.phases)

        def validate() -> Validation:
            step = min((len(states) + 1) * steps_of_validations, num_steps)
            state: dict[str, Any] = {"step": step, "confusion": {}}
            for name, network in plan.validated.items():
                probabilities = predict_faces(
                    network,
                    faces,
                    view_size=config.data.view_size,
                    workers=config.data.num_workers,
                )
                matrix = count_confusions(truth, probabilities.argmax(1), k)
                state["confusion"][name] = matrix.tolist()
                if name == plan.deployed:
                    state["faces"] = np.round(100 * probabilities[shown], 1).tolist()
                    score = 100 * float(np.mean(np.diag(matrix) / matrix.sum(1)))
            states.append(state)
            return Validation({"validation": {}}, score)

        stopped = None
        try:
            with threads(config.compute, config.network.backbone, device):
                take_steps(config, plan, place, run_dir, validate)
        except Face2ExpError as error:  # a loss that is not finite ends a run, and is what is told
            stopped = str(error)
    return {
        "config": dump_config(config),
        "deployed": plan.deployed,
        "shown": shown,
        "states": states,
        "stopped": stopped,
        "environment": made_with,
    }


def main() -> None:
    """As in the docstring above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=Path("configs/rendered_cpu.yaml"))
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", dest="changes")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    config = load_config(args.config, args.changes)
    write_json(args.json, followed(config, args.data_root))


if __name__ == "__main__":
    main()
