# %% question
"""
Let a share $r$ of the pseudo labels be right, and the wrong ones be spread evenly over the other $K - 1$ classes. $\\mathcal{A}$ learns
these frequencies exactly. Which name does it give, and how sure is it? From which $r$ on is it right?
"""

# %% stub
def sure(r, K):
    """The probability that A gives to the right class."""
    return 1.0


def right_from(K):
    return 0.5

# %% solution
def sure(r, K):
    """The probability that A gives to the right class."""
    return r


def right_from(K):
    return 1 / K  # there the right class begins to be the most frequent one

# %% check
assert sure(0.6, 7) == 0.6
r, K = right_from(7), 7
assert abs(sure(r, K) - (1 - r) / (K - 1)) < 1e-12
