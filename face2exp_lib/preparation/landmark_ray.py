"""Pieces of `face2exp_lib.preparation.landmarking` over a Ray cluster.

A worker sends the rows back and this process writes them: machines need to share the images, at the
same path, and not the place of the result.
"""

import logging
import os
from collections.abc import Generator, Iterator
from itertools import islice

from face2exp_lib.preparation.landmarking import Engine, Piece, rows_of
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import write_bytes

QUEUED_PER_WORKER = 2  # enough to keep it busy
RETRIES = 5  # of a piece whose worker or machine was lost


def ray_engine(workers: int | None, address: str | None) -> Engine:
    """Works on pieces in Ray tasks of one CPU each.

    Args:
        workers: of a local cluster, or tasks at once; None takes all CPUs.
        address: of a running cluster, as `ray.init` takes it; None starts one on this machine, and
            ends it with the work.

    Raises:
        Face2ExpError: when it is called, if ray is missing, no cluster answers or workers are lost.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # warns without it

    def run(pieces: Iterator[Piece]) -> Generator[Piece, None, None]:
        try:
            import ray
        except ImportError as error:
            raise Face2ExpError(
                "--engine ray needs ray: pip install 'face2exp-lib[ray]'"
            ) from error
        try:
            ray.init(
                address or "local",
                num_cpus=None if address else workers,
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise Face2ExpError(
                f"no Ray cluster at '{address or 'local'}' ({error}): start one, or leave "
                "--address out"
            ) from error
        try:
            remote = ray.remote(num_cpus=1, max_retries=RETRIES)(rows_of)
            at_once = QUEUED_PER_WORKER * (workers or int(ray.cluster_resources().get("CPU", 1)))
            running: dict[object, Piece] = {}
            while True:
                for piece in islice(pieces, at_once - len(running)):
                    running[remote.remote(piece)] = piece
                if not running:
                    return
                for done in ray.wait(list(running))[0]:
                    piece = running.pop(done)
                    write_bytes(piece.path, ray.get(done))
                    yield piece
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, Face2ExpError):
                raise error.cause from error
            raise
        except ray.exceptions.RayError as error:
            raise Face2ExpError(
                f"the Ray cluster lost its workers ({type(error).__name__}): run again to go on"
            ) from error
        finally:
            ray.shutdown()

    return run
