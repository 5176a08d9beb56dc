# %% question
"""
Change the label of $x_{FER}$ in the case for paper and pencil to class 1. What does $f$ become, in terms of
$p_0$, and what does that do to $\\mathcal{B}$?
"""

# %% stub
import math

p_0 = 1 / (1 + math.exp(-0.25))
f = 0.1 * (3 * (p_0 - 1) * -0.5 + (1 - p_0) * 1.0)  # of class 0

# %% solution
import math

p_0 = 1 / (1 + math.exp(-0.25))
f = 0.1 * (3 * p_0 * -0.5 - p_0 * 1.0)  # -0.25 p_0: the labels hurt, B is made less sure of them

# %% check
import torch

from face2exp_lib.methods.feedback import feedback_coefficient

w = torch.tensor([0.05, -0.1], dtype=torch.float64, requires_grad=True)
x_fer = torch.tensor([3.0, 1.0], dtype=torch.float64)
loss = torch.nn.functional.cross_entropy(w * x_fer, torch.tensor(1))
grad_u = torch.tensor([-0.5, 1.0], dtype=torch.float64)
by_library = feedback_coefficient(torch.autograd.grad(loss, [w]), (grad_u,), 0.1)
assert abs(f - by_library) < 1e-9
