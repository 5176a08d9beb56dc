"""A run's folder: who may write it, and whether what it holds is the run that is meant."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from face2exp_lib.config import RunConfig, load_config
from face2exp_lib.errors import Face2ExpError
from face2exp_lib.splits import RunData
from face2exp_lib.storage import TEMPORARY, read_json, remove_leftovers


@contextmanager
def claimed(config: RunConfig, run_dir: Path, *, resume: bool) -> Iterator[None]:
    """Hold a run's folder alone, and make sure that training into it overwrites nothing.

    The lock is the system's: it goes with the process that holds it, however that ends.

    Raises:
        Face2ExpError: if the folder cannot be written, another process holds it, it holds
            something else, another config's run, or a run begun and `resume` is not given.
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
        _must_be_this_run(config, run_dir, resume)
        remove_leftovers(run_dir)
        yield
    finally:
        lock.release()


def _must_be_this_run(config: RunConfig, run_dir: Path, resume: bool) -> None:
    path = run_dir / "config.yaml"
    if not path.exists():
        return
    begun = (run_dir / "checkpoints").exists() or (run_dir / "finished.json").exists()
    if begun and not resume:
        raise Face2ExpError(
            f"{run_dir}: holds a run already: go on with --resume, or choose another --run-dir"
        )
    # A run that stopped before its first checkpoint may begin anew with another config. But a
    # config.yaml that no run has put there is somebody's own file.
    if begun or not (run_dir / "environment.json").exists():
        try:
            same = load_config(path) == config
        except Face2ExpError:
            same = False
        if not same:
            raise Face2ExpError(
                f"{run_dir}: holds a run of another config: see {path}, or choose another --run-dir"
            )


def must_be_same_data(data: RunData, run_dir: Path) -> None:
    """Make sure that a run goes on with the images and labels that it began with.

    Raises:
        Face2ExpError: naming the set that has changed.
    """
    if not (run_dir / "data.json").exists():  # a run of a version that wrote none
        return
    begun_with = read_json(run_dir / "data.json", "sets")["sets"]
    for name, now in data.record()["sets"].items():
        if begun_with.get(name) != now:
            raise Face2ExpError(
                f"{run_dir}: its {name} set has changed since the run began (now "
                f"{now['num_images']} images, see data.json there): restore it, or choose another "
                "--run-dir"
            )
