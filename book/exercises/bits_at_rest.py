# %% question
"""
Write a test that any way of measuring $f$ has to pass at $\\eta_A = 0$, and that a difference of losses under other
batch statistics fails. What does it compare, and how exactly?
"""


# %% stub
def passes_at_rest(loss_before, loss_after):
    return abs(loss_before - loss_after) < 0.5


# %% solution
def passes_at_rest(loss_before, loss_after):
    return loss_before == loss_after  # the network has not moved: to the bit


# %% check
import torch

network = torch.nn.BatchNorm1d(2).double()
fer, fr = torch.tensor([[0.0, 1.0], [2.0, 4.0]]), torch.tensor([[5.0, 1.0], [7.0, 7.0]])
alone = network(fer.double()).pow(3).mean()
together = network(torch.cat([fer, fr]).double())[:2].pow(3).mean()
assert passes_at_rest(alone, network(fer.double()).pow(3).mean())
assert not passes_at_rest(together, alone)
assert not passes_at_rest(torch.tensor(1.0), torch.tensor(1.0001))
