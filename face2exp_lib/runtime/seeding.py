"""Random numbers as a function of (seed, purpose, step): resume repeats them, nothing is saved."""

import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def numpy_generator(seed: int, purpose: str, *key: int) -> np.random.Generator:
    """An independent numpy generator for one purpose, e.g. `("batches/fr", epoch)`."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), *key])


def torch_generator(seed: int, purpose: str, *key: int) -> "torch.Generator":
    """The same for torch (on the CPU: drawn values do not depend on the device used later)."""
    import torch  # here, since drawing faces needs none of it and it takes seconds to import

    drawn = int(numpy_generator(seed, purpose, *key).integers(2**63))
    return torch.Generator().manual_seed(drawn)
