"""Run jobs in worker processes that never hang and never outlive the process that started them."""

import os
import signal
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import active_children, get_context, parent_process
from threading import Thread
from typing import TypeVar

from face2exp_lib.runtime.errors import Face2ExpError

Job = TypeVar("Job")

QUEUED_PER_WORKER = 2  # enough to keep it busy; millions of jobs are never listed at once


def usable_cpus() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_all(
    run: Callable[[Job], object], jobs: Iterator[Job], workers: int
) -> Generator[Job, None, None]:
    """Run every job and give it back when it is done, in any order.

    One worker is this process itself. Close the generator to stop early: jobs under way are
    abandoned.

    Raises:
        Face2ExpError: if a worker was killed or memory ran out.
        Exception: what `run` raised.
    """
    try:
        if workers == 1:
            for job in jobs:
                run(job)
                yield job
            return
        with _pool(workers) as pool:
            running: dict[Future[object], Job] = {}
            while True:
                for job in islice(jobs, QUEUED_PER_WORKER * workers - len(running)):
                    with _interrupts_held():
                        running[pool.submit(run, job)] = job
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    future.result()
                    yield running.pop(future)
    except (BrokenProcessPool, MemoryError) as error:
        raise Face2ExpError(
            "a worker process was killed, or memory ran out: run again to go on, with fewer "
            "--workers if it happens again"
        ) from error


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    others = set(active_children())
    # spawn, not fork: a forked child of a process with threads may hang
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _begin_worker)
    try:
        yield pool
    except BaseException:
        for process in set(active_children()) - others:
            process.terminate()  # rather than wait for what nobody wants any more
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    """Let Ctrl-C end this worker without a word, and end with the parent, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start workers with Ctrl-C held back until `_begin_worker`: before, it prints a traceback."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
