# %% question
"""
How much of what a constant rate would have moved the weights does a cosine from $\\eta$ to 0 leave? Add up the rates of
all steps, and compare with $\\eta T$.
"""

# %% stub
from face2exp_lib.training.phases import Rate

T, eta = 1000, 0.01
share = 1.0

# %% solution
from face2exp_lib.training.phases import Rate

T, eta = 1000, 0.01
share = sum(Rate(eta).at(step, T) for step in range(T)) / (eta * T)

# %% check
assert abs(share - 0.5) < 1e-3
