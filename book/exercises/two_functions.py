# %% question
"""
Batch norm without weights maps a batch to its mean 0 and its variance 1. Write the loss of the first two
numbers, half their squared distance to the targets 1 and -1 on average, once normalised among themselves and once among
all four. Why do they differ though nothing was learnt?
"""

# %% stub
import torch


def losses(numbers, others, targets):
    return 0.0, 0.0

# %% solution
import torch


def losses(numbers, others, targets):
    def loss(batch):
        normed = (batch - batch.mean()) / batch.std(correction=0)
        return ((normed[: len(numbers)] - targets) ** 2).mean().item() / 2

    return loss(numbers), loss(torch.cat([numbers, others]))

# %% check
alone, together = losses(
    torch.tensor([3.0, 1.0]), torch.tensor([5.0, 7.0]), torch.tensor([1.0, -1.0])
)
assert abs(alone) < 1e-9
assert abs(together - 0.5527864) < 1e-5
