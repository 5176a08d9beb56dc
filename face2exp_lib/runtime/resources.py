"""Data, configs and results that come with the package: in a wheel, or in the source tree."""

from pathlib import Path

from face2exp_lib.runtime.errors import Face2ExpError


def shipped(name: str) -> Path:
    """The folder or file `name` (`data/rendered`, `configs`, `results`) of this installation.

    In a wheel it lies inside the package, behind an underscore; in the source tree it stands beside
    the package.

    Raises:
        Face2ExpError: if this installation does not have it.
    """
    package = Path(__file__).parents[1]
    for path in (package / f"_{name}", package.parent / name):
        if path.exists():
            return path
    raise Face2ExpError(f"'{name}' is missing from this installation: install it again")
