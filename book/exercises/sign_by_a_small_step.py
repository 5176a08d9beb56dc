# %% question
"""
At $\\eta_A = 0$ any way of measuring $f$ says 0, and so does one with its sign flipped. Write a test that tells them
apart. It is given a way, which takes $\\eta_A$ to $f$, and the labelled loss as a function of $\\eta_A$. Why must its
step be small?
"""


# %% stub
def has_the_right_sign(way, loss_at):
    return way(0.0) == 0


# %% solution
def has_the_right_sign(way, loss_at):
    eta = 1e-4  # along a long step the curvature may turn the sign of Eq. 6 itself
    return abs(way(eta) / (loss_at(0.0) - loss_at(eta)) - 1) < 0.1


# %% check
def loss_at(eta):  # of w^2 / 2, after a step from 1 along an FR gradient of 2
    return (1 - 2 * eta) ** 2 / 2


def eq_6(eta):
    return eta * (1 - 2 * eta) * 2


def new_minus_old(eta):
    return loss_at(eta) - loss_at(0.0)


assert has_the_right_sign(eq_6, loss_at)
assert has_the_right_sign(lambda eta: loss_at(0.0) - loss_at(eta), loss_at)
assert not has_the_right_sign(new_minus_old, loss_at)
assert not has_the_right_sign(lambda eta: -eq_6(eta), loss_at)
