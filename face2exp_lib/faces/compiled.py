"""numba where it is installed; everything also works without it, only slower."""

import importlib.util
from collections.abc import Callable
from typing import Any

HAVE_NUMBA = importlib.util.find_spec("numba") is not None


def compile_loop(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a plain loop over arrays; the identity if numba is missing.

    fastmath stays off: it lets the compiler reorder sums and would change the images.
    """
    if not HAVE_NUMBA:
        return function
    import numba

    try:
        return numba.njit(function, cache=True, nogil=True)
    except RuntimeError:  # neither the package's folder nor a home folder takes the cache
        return numba.njit(function, nogil=True)
