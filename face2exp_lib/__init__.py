"""Learning facial expressions from biased data with Meta-Face2Exp (CVPR 2022).

The rooms of the house; each imports from itself and from those before it:

    runtime/        errors, whole files, worker processes, seeds, provenance: no faces in here
    data/           from files to mini-batches: sets, shards, one format each, splits
    augmentation/   Aug(.): drawn, then applied
    backbones/      architectures of others: torchvision's
    networks.py     one of them or our own, its first weights, and the batch-norm policy
    methods/        one way to learn each: Meta-Face2Exp and its rivals
    config.py       a run as one typed object
    evaluation/     numbers of a network over a labelled set
    preparation/    before training: inspect, audit, landmarks, shards
    rendering/      3D faces whose truth is known
    training/       phases, the loop, checkpoints, telemetry
    runs/           a finished run: evaluate, predict, explain, export, analyse, mismatch, card
    comparison/     arms, budgets, seeds, paired tests
    figures/        plotly; never trains
    cli/            the command

What most programs need is offered here, too: `from face2exp_lib import load_config, train`. A name
is imported when it is asked for, so that whoever draws faces waits for no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from face2exp_lib.comparison.arms import read_comparison as read_comparison
    from face2exp_lib.comparison.compare import run_comparison as run_comparison
    from face2exp_lib.config import RunConfig as RunConfig
    from face2exp_lib.config import load_config as load_config
    from face2exp_lib.data.sets.facesets import FaceSet as FaceSet
    from face2exp_lib.data.sources import Source as Source
    from face2exp_lib.methods.meta_face2exp import meta_step as meta_step
    from face2exp_lib.methods.meta_options import MetaOptions as MetaOptions
    from face2exp_lib.preparation.inspection import inspect as inspect
    from face2exp_lib.runs.cross_evaluation import evaluate_on as evaluate_on
    from face2exp_lib.runs.evaluate import evaluate_run as evaluate_run
    from face2exp_lib.runs.explain import explain_images as explain_images
    from face2exp_lib.runs.export import export_run as export_run
    from face2exp_lib.runs.predict import predict_images as predict_images
    from face2exp_lib.runs.trained import load_trained as load_trained
    from face2exp_lib.runtime.errors import Face2ExpError as Face2ExpError
    from face2exp_lib.training.loop import train as train

__version__ = "0.1.0"

_HOME = {
    "Face2ExpError": "runtime.errors",
    "FaceSet": "data.sets.facesets",
    "MetaOptions": "methods.meta_options",
    "RunConfig": "config",
    "Source": "data.sources",
    "evaluate_on": "runs.cross_evaluation",
    "evaluate_run": "runs.evaluate",
    "explain_images": "runs.explain",
    "export_run": "runs.export",
    "inspect": "preparation.inspection",
    "load_config": "config",
    "load_trained": "runs.trained",
    "meta_step": "methods.meta_face2exp",
    "predict_images": "runs.predict",
    "read_comparison": "comparison.arms",
    "run_comparison": "comparison.compare",
    "train": "training.loop",
}
__all__ = sorted(_HOME)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})


if not TYPE_CHECKING:  # which would take any name from here for one that there is

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
