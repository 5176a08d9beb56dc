"""USB's algorithms on a CPU, with a network and batches of ours; `benchmarks.peers` compares.

USB (Wang et al.: USB: A Unified Semi-supervised Learning Benchmark for Classification, NeurIPS 2022
Datasets and Benchmarks) is the package `semilearn`. It trains on CUDA alone: it sends its batches
to a GPU, and one of its hooks times by CUDA's events. These two are left out here; losses, hooks,
optimisers, moving averages and the loop are USB's own.
"""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from itertools import repeat
from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn

from face2exp_lib.backbones.face_network import FaceNetwork
from face2exp_lib.runtime.errors import Face2ExpError

VERSION = "0.3.2"
PIP = f"pip install semilearn=={VERSION}"
NEVER = 10**9  # steps between two lines of its log, or two validations
Inputs = dict[str, Tensor]  # of a step, by USB's names: x_lb, y_lb, x_ulb_w, x_ulb_s, ...


def semilearn(module: str = "semilearn") -> Any:
    """A module of USB's.

    Raises:
        Face2ExpError: if it cannot be imported.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the packages that it imports
            return import_module(module)
    except ImportError as error:
        raise Face2ExpError(
            f"{module} cannot be imported ({error}): `{PIP}`, in an environment of its own"
        ) from error


def installed() -> str:
    """The version that is there.

    Raises:
        Face2ExpError: if there is none.
    """
    try:
        return version("semilearn")
    except PackageNotFoundError as error:
        raise Face2ExpError(
            f"semilearn is not installed: `{PIP}`, in an environment of its own"
        ) from error


class UsbForm(nn.Module):
    """A backbone of ours as USB calls its own."""

    def __init__(self, network: FaceNetwork) -> None:
        super().__init__()
        last_layer = network.head
        assert isinstance(last_layer, nn.Linear)
        self.network, self.num_features = network, last_layer.in_features

    def forward(self, x: Tensor, *, only_fc: bool = False, only_feat: bool = False) -> Any:
        """(N, 3, s, s) images, or with `only_fc` (N, D) features, to what USB calls them."""
        if only_fc:
            return self.network.head(x)
        feat = self.network.features(x)
        return feat if only_feat else {"logits": self.network.head(feat), "feat": feat}


def algorithm(
    name: str,
    network: FaceNetwork,
    *,
    optimiser: Callable[[nn.Module], tuple[Any, Any]] | None = None,
    batches: Iterable[Inputs] = (),
    validate: Callable[[Any], float] | None = None,
    class_counts: Sequence[int] = (1,) * 7,
    **settings: Any,
) -> Any:
    """USB's algorithm of a name, ready for `step` or its own `train`.

    Args:
        name: of USB's registry.
        network: a copy of it is trained.
        optimiser: takes the network to an optimiser and a scheduler, or None, in place of USB's.
        batches: of `train`.
        validate: what `train` calls where USB reads its validation set; an accuracy.
        class_counts: labelled images of each class, which ReMixMatch aligns its guesses with.
        settings: of `semilearn.get_config`, where they are not its defaults.
    """
    base = semilearn("semilearn.core.utils").ALGORITHMS[name]
    labels = [k for k, count in enumerate(class_counts) for _ in range(count)]

    class OnCpu(base):  # type: ignore[misc, valid-type]
        def set_dataset(self) -> Any:
            return {"train_lb": SimpleNamespace(targets=labels)}

        def set_data_loader(self) -> Any:
            return {"train_lb": batches, "train_ulb": repeat({})}  # USB zips the two

        def set_optimizer(self) -> Any:
            return optimiser(self.model) if optimiser else super().set_optimizer()

        def set_hooks(self) -> None:
            super().set_hooks()
            del self.hooks_dict["TimerHook"]  # CUDA's events

        def process_batch(self, **inputs: Tensor) -> Inputs:
            return inputs  # USB's own sends them to a GPU

        def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
            return {"eval/top-1-acc": validate(self) if validate else 0.0}

    usual = {
        "algorithm": name,
        "num_classes": len(class_counts),
        "num_log_iter": NEVER,
        "num_eval_iter": NEVER,
        "distributed": False,
    }
    with silent():
        config = semilearn().get_config(usual | settings)
        made = OnCpu(config, lambda **_: UsbForm(deepcopy(network)), None, None)
        made.model.to(next(network.parameters()).dtype).train()
        made.call_hook("before_run")  # its moving average begins
    return made


def step(made: Any, it: int, inputs: Inputs) -> float:
    """One step of an algorithm as USB's loop takes it.

    Args:
        made: of `algorithm`.
        it: steps done before, by which USB's ramps go.
        inputs: of its `train_step`.

    Returns:
        The total loss before the step.
    """
    made.it = it
    made.call_hook("before_train_step")
    made.out_dict, made.log_dict = made.train_step(**inputs)
    made.call_hook("after_train_step")
    return float(made.out_dict["loss"].detach())


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Without what USB prints, and without torch's warning that there is no CUDA to scale for."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
