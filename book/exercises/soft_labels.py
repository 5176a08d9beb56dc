# %% question
"""
Pseudo labels are one-hot (Eq. 1). Suppose they were soft: B's own probabilities $p$, as constants. What is the
gradient of $\\text{CE}(p, \\mathcal{B}(x_{FR}))$ by B's logits, and so what would Eq. 5 teach B?
"""

# %% stub
import torch


def gradient(logits):
    return torch.full_like(logits, 1.0)


# %% solution
import torch


def gradient(logits):
    # softmax less the target, and the target is the softmax: nothing, whatever f says
    return torch.zeros_like(logits)


# %% check
logits = torch.tensor([[2.0, -1.0, 0.5]], requires_grad=True)
loss = torch.nn.functional.cross_entropy(logits, logits.softmax(1).detach())
(by_torch,) = torch.autograd.grad(loss, logits)
assert torch.allclose(gradient(logits.detach()), by_torch, atol=1e-6)
