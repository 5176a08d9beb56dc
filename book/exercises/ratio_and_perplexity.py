# %% question
"""
Two sets of four classes have the same ratio of the largest class to the smallest, 10. Which has fewer "equally large"
classes, $e^H$: $(10, 10, 10, 1)$ or $(10, 1, 1, 1)$? Write $e^H$ and see.
"""

# %% stub
import numpy as np


def perplexity(counts):
    return float(len(counts))


fewer = (10, 10, 10, 1)

# %% solution
import numpy as np


def perplexity(counts):
    shares = np.array(counts) / sum(counts)
    return float(np.exp(-(shares * np.log(shares)).sum()))


fewer = min([(10, 10, 10, 1), (10, 1, 1, 1)], key=perplexity)

# %% check
assert abs(perplexity((5, 5, 5)) - 3) < 1e-12
assert abs(perplexity((90, 10)) - 1.38) < 0.005  # the pencil's
assert fewer == (10, 1, 1, 1)
