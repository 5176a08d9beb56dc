# %% question
"""
Two processes hold gradients $a_1, a_2$ on FER and $b_1, b_2$ on FR data. What has to be averaged so that $f$ is that
of the whole batch, and what does the mean of the processes' own $f$ leave out?
"""

# %% stub
import torch


def f_of_all(a, b, eta):
    return torch.stack([eta * (x @ y) for x, y in zip(a, b, strict=True)]).mean()


# %% solution
import torch


def f_of_all(a, b, eta):
    # gradients first: the products of one process's a with the other's b count, too
    return eta * (torch.stack(a).mean(0) @ torch.stack(b).mean(0))


# %% check
a = [torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])]
b = [torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])]
assert f_of_all(a, b, 0.1) == torch.tensor(0.1) * 0.5
assert f_of_all([a[0], a[0]], [b[1], b[1]], 0.1) == torch.tensor(0.1)
