"""The feedback coefficient f (paper Eq. 6)."""

from collections.abc import Sequence

import torch
from torch import Tensor

Grads = tuple[Tensor, ...]


def gradients(loss: Tensor, parameters: Sequence[Tensor]) -> Grads:
    """Gradient of a scalar loss with respect to each parameter; `.grad` fields are not touched."""
    return torch.autograd.grad(loss, parameters)


def feedback_coefficient(grad_s_after: Grads, grad_u: Grads, eta_a: float) -> Tensor:
    """f of Eq. 6: eta_A times the dot product of two gradients of the adaptation network.

    With theta_A' = theta_A - eta_A grad_u, a first-order Taylor expansion around theta_A' gives
    CE(y_FER, A(x_FER; theta_A)) - CE(y_FER, A(x_FER; theta_A')) = f + O(eta_A^2): f > 0 means that
    learning from the pseudo labels lowered the labelled loss.

    Args:
        grad_s_after: of CE(y_FER, A(x_FER)) at theta_A', one tensor a parameter.
        grad_u: of L_u = CE(y_hat_FR, A(x_FR)) at theta_A, the same shapes.
        eta_a: A's learning rate in the step between the two.

    Returns:
        0-d tensor.
    """
    products = [(after * before).sum() for after, before in zip(grad_s_after, grad_u, strict=True)]
    return eta_a * torch.stack(products).sum()
