"""numba compiles the loops that draw; it comes with the extra `render`.

Without it the package imports, and specs can be made and checked; drawing says what is missing.
"""

import importlib.util
from collections.abc import Callable
from typing import Any

from face2exp_lib.runtime.errors import Face2ExpError


class NumbaMissingError(Face2ExpError, ImportError):
    """Faces cannot be drawn; the message says what to install."""


def compile_loop(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a plain loop over arrays.

    A compiled loop may use constants and compiled loops of its own file only; all else it is given
    as arguments. numba keeps compiled code until that one file changes, so what came from another
    file would go stale. fastmath stays off: it lets the compiler reorder sums, and images would
    depend on the machine.

    Returns:
        The compiled loop; without numba, a function that raises `NumbaMissingError`.
    """
    if importlib.util.find_spec("numba") is None:
        return _refuse
    import numba

    try:
        return numba.njit(function, cache=True, error_model="numpy")
    except RuntimeError:  # neither the package's folder nor a home folder takes the cache
        return numba.njit(function, error_model="numpy")


def _refuse(*arguments: Any) -> None:
    raise NumbaMissingError(
        'drawing faces needs numba, which is not installed: run pip install "face2exp-lib[render]"'
    )
