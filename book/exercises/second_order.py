# %% question
"""
The labelled loss falls by $f$ plus something of second order. On the quadratic loss $\\mathcal{L}(w) = w^2 / 2$
with A's step $w' = w - \\eta g$, write the fall of the loss, $f$, and the rest in terms of $\\eta$ and $g$.
"""


# %% stub
def fall_f_rest(w, g, eta):
    after = w - eta * g
    return w**2 / 2 - after**2 / 2, eta * w * g, 0.0


# %% solution
def fall_f_rest(w, g, eta):
    after = w - eta * g
    # f takes the labelled gradient after the step, which is `after` itself
    return w**2 / 2 - after**2 / 2, eta * after * g, (eta * g) ** 2 / 2


# %% check
for eta in (0.1, 0.01):
    fall, f, rest = fall_f_rest(0.7, -1.3, eta)
    assert abs(fall - f - rest) < 1e-12
    assert abs(rest) < 0.9 * eta**2
