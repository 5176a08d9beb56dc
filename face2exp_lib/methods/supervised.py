"""Learning from labels alone: the baseline, and the warm start and fine-tune of other methods."""

from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.methods.cost import learning
from face2exp_lib.methods.method import Losses, Method, StepContext
from face2exp_lib.methods.passes import PLAIN, Compute, descend, gradient_pass, labelled_loss


def supervised_step(
    network: nn.Module,
    optimiser: SGD,
    x_fer: Tensor,
    y_fer: Tensor,
    compute: Compute = PLAIN,
    *,
    label_smoothing: float = 0.0,
) -> Losses:
    """One update on L_s alone (Eq. 3): the baseline, the warm start and the fine-tune."""
    s = gradient_pass(network, x_fer, y_fer, compute, criterion=labelled_loss(label_smoothing))
    descend(optimiser, list(network.parameters()), s.grad)
    return {"loss_s": s.loss}


def step(given: StepContext) -> Losses:
    """L_s of each network, from its own weights."""
    losses: Losses = {}
    for name, network in given.networks.items():
        found = supervised_step(
            network,
            given.optimisers[name],
            given.batch.x_fer,
            given.batch.y_fer,
            given.compute,
            label_smoothing=given.label_smoothing,
        )
        losses["loss_s" if not losses else f"loss_s_{name}"] = found["loss_s"]
    return losses


SUPERVISED = Method(
    name="supervised",
    title="supervised baseline",
    step=step,
    cost=lambda options, n, m: learning(n),
    unlabelled=False,
)
