# %% question
"""
A weight decay that is parsed and never handed to the optimiser: write a check that would have found it. It trains
nothing: it takes the optimiser and the settings and returns the names of the settings that are not in force.
"""

# %% stub
import torch


def not_in_force(optimiser, settings):
    return []

# %% solution
import torch


def not_in_force(optimiser, settings):
    return [
        name
        for name, value in settings.items()
        if any(group.get(name) != value for group in optimiser.param_groups)
    ]

# %% check
weight = torch.nn.Parameter(torch.zeros(1))
asked = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
assert not_in_force(torch.optim.SGD([weight], lr=0.1, momentum=0.9), asked) == ["weight_decay"]
assert not_in_force(torch.optim.SGD([weight], **asked), asked) == []
