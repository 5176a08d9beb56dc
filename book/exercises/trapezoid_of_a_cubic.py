# %% question
"""
On a quadratic loss the trapezoid is the fall itself, since nothing is left of third order. What does it miss on
$\\mathcal{L}(w) = w^3$, with A's step $w' = w - \\eta g$? Write the fall of the loss, the trapezoid, and the rest
in terms of $\\eta$ and $g$.
"""


# %% stub
def fall_trapezoid_rest(w, g, eta):
    after = w - eta * g
    return w**3 - after**3, eta * g * 3 * after**2, 0.0


# %% solution
def fall_trapezoid_rest(w, g, eta):
    after = w - eta * g
    trapezoid = eta * g * (3 * w**2 + 3 * after**2) / 2
    # the slope along the step is a parabola, and a chord of it lies above it
    return w**3 - after**3, trapezoid, -((eta * g) ** 3) / 2


# %% check
for eta in (0.1, 0.05):
    fall, trapezoid, rest = fall_trapezoid_rest(0.7, 1.3, eta)
    assert abs(fall - trapezoid - rest) < 1e-12
    assert abs(rest) < 2 * eta**3
