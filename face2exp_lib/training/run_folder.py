"""A run's folder: who may write it, and whether what it holds is the run that is meant."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from face2exp_lib.config import load_config
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import TEMPORARY, remove_leftovers
from face2exp_lib.training.run_changes import changed_keys, kind_of, told


@contextmanager
def claimed(
    config: Any,
    run_dir: Path,
    data_root: Path | None,
    *,
    resume: bool,
    changed: bool,
    load: Callable[[Path], Any] = load_config,
) -> Iterator[None]:
    """Hold a run's folder alone, and make sure that training into it overwrites nothing.

    The lock is the system's: it goes with the process that holds it, however that ends.

    Args:
        config: of the run, or of a pre-training.
        load: reads one of its kind.

    Raises:
        Face2ExpError: if the folder cannot be written, another process holds it, it holds
            something else, another config's run, a run begun and `resume` is not given, or one of
            a config that has changed and `changed` is not given.
    """
    held = {path.name for path in run_dir.iterdir()} if run_dir.is_dir() else set()
    held = {name for name in held if name != ".lock" and not TEMPORARY.fullmatch(name)}
    if held and "config.yaml" not in held:
        raise Face2ExpError(f"{run_dir}: not empty and no run directory: choose another --run-dir")
    lock = FileLock(run_dir / ".lock")
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise Face2ExpError(
            f"{run_dir}: another process is training this run: wait for it"
        ) from error
    except OSError as error:
        raise Face2ExpError(
            f"{run_dir}: cannot write here ({error.strerror}): choose another --run-dir"
        ) from error
    try:
        _must_be_this_run(config, run_dir, data_root, resume, changed, load)
        remove_leftovers(run_dir)
        yield
    finally:
        lock.release()


def _must_be_this_run(
    config: Any,
    run_dir: Path,
    data_root: Path | None,
    resume: bool,
    changed: bool,
    load: Callable[[Path], Any],
) -> None:
    path = run_dir / "config.yaml"
    if not path.exists():
        return
    finished = (run_dir / "finished.json").exists()
    if (finished or (run_dir / "checkpoints").exists()) and not resume:
        raise Face2ExpError(
            f"{run_dir}: holds a run already: go on with --resume, or choose another --run-dir"
        )
    # A run that stopped before its first checkpoint may begin anew with another config. But a
    # config.yaml that no run has put there is somebody's own file.
    goes_on = finished or any(
        checkpoint.name != "best.pt" for checkpoint in (run_dir / "checkpoints").glob("*.pt")
    )
    if not goes_on and (run_dir / "environment.json").exists():
        return
    way_out = "choose another --run-dir"
    try:
        held = load(path)
    except Face2ExpError:
        held = None
    if held is None or not (goes_on or held == config):
        raise Face2ExpError(f"{run_dir}: holds a run of another config: see {path}, or {way_out}")
    keys = changed_keys(held, config, data_root)
    fixed = {key: pair for key, pair in keys.items() if kind_of(key) == "fixed"}
    if fixed:
        raise Face2ExpError(
            f"{run_dir}: holds a run of another config ({told(fixed)}): see {path}, or {way_out}"
        )
    if keys and finished:
        raise Face2ExpError(
            f"{run_dir}: has finished with another config ({told(keys)}): {way_out}"
        )
    if keys and not changed:
        raise Face2ExpError(
            f"{run_dir}: its config has changed ({told(keys)}): go on with --resume --changed, "
            f"which notes it in the run's record, or {way_out}"
        )
