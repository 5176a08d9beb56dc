"""Workers that die, fail, are interrupted or orphaned: nothing hangs and nothing is left over."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from multiprocessing import active_children

import pytest

from face2exp_lib.data.sets.labels import parse_label
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.workers import QUEUED_PER_WORKER, run_all, usable_cpus


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_run_and_given_back_once(workers: int) -> None:
    assert sorted(run_all(abs, iter(range(-9, 0)), workers)) == list(range(-9, 0))
    assert list(run_all(abs, iter(()), workers)) == []
    assert active_children() == []


def test_jobs_are_not_listed_ahead() -> None:
    taken = []

    def jobs() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    with closing(run_all(abs, jobs(), 2)) as done:
        next(done)
        assert len(taken) <= QUEUED_PER_WORKER * 2 + 1


@pytest.mark.parametrize(
    ("run", "job"),
    [(signal.raise_signal, signal.SIGKILL), (os._exit, 0), (bytearray, 2**60)],
    ids=["killed", "gone", "out of memory"],
)
def test_a_worker_that_dies_is_an_error(run, job) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Face2ExpError, match="killed, or memory ran out: run again to go on"):
        list(run_all(run, iter([job]), 2))
    assert active_children() == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_job_is_raised_here(workers: int) -> None:
    with pytest.raises(Face2ExpError, match="unknown label 'smug'"):
        list(run_all(parse_label, iter(["sad", "smug", "fear"]), workers))
    assert active_children() == []


def test_jobs_under_way_are_abandoned_when_nobody_wants_them() -> None:
    with closing(run_all(time.sleep, iter([0.0, 600.0, 600.0]), 2)) as done:
        assert next(done) == 0.0
        start = time.monotonic()
    assert time.monotonic() - start < 60
    assert active_children() == []


def test_workers_end_with_the_process_that_started_them() -> None:
    program = """
import time
from face2exp_lib.runtime.workers import run_all
from multiprocessing import active_children
done = run_all(time.sleep, iter([0.0, 600.0, 600.0]), 2)
next(done)
print(*(child.pid for child in active_children()), flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        workers = [int(word) for word in parent.stdout.readline().split()]
        parent.kill()
    assert workers
    deadline = time.monotonic() + 120
    while any(map(runs, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def runs(process: int) -> bool:
    """Whether a process is alive; one that is dead and not yet buried is not."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_cpus_that_may_be_used() -> None:
    assert 1 <= usable_cpus() <= (os.cpu_count() or 1)
