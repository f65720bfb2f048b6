"""Where work is done: in this process, in a pool of processes, or wherever Ray has machines."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol, TypeVar

from pocketportrait.errors import InputError, PortraitError

EXECUTORS = ("local", "ray")


Job = TypeVar("Job")
Result = TypeVar("Result")


class Executor(Protocol):
    """What sharing out work needs."""

    def each(self, work: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
        """Do every job; give results as they come, in any order."""
        ...


class LocalExecutor:
    """The machine at hand: one job after the other, or several processes."""

    def __init__(self, jobs: int = 1) -> None:
        """Say how many processes share the work; with one, it is done in this process."""
        self._jobs = jobs

    def each(self, work: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
        """Do every job; give results as they come.

        Raises:
            PortraitError: a process died, for lack of memory most often.

        """
        if self._jobs == 1 or len(jobs) < 2:
            yield from map(work, jobs)
            return
        # not forked: OpenCV's threads do not survive that
        context = multiprocessing.get_context("spawn")
        count = min(self._jobs, len(jobs))
        with ProcessPoolExecutor(count, context, initializer=_end_with_parent) as pool:
            futures = [pool.submit(work, job) for job in jobs]
            try:
                for future in as_completed(futures):
                    yield future.result()
            except BrokenProcessPool as error:
                raise PortraitError(
                    "a process died, for lack of memory most often; what is done is kept: run the "
                    "same command again, with fewer --jobs"
                ) from error
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


class RayExecutor:
    """Every machine of a Ray cluster, one job a core; videos and output must be on a shared disk."""

    def __init__(self) -> None:
        """Join the cluster that RAY_ADDRESS names, or start one on this machine.

        Raises:
            ModuleNotFoundError: Ray is not installed (extra `ray`).

        """
        os.environ.setdefault(
            "RAY_USAGE_STATS_ENABLED", "0"
        )  # nothing is reported unless asked for
        import ray

        self._ray: Any = ray
        ray.init(ignore_reinit_error=True, log_to_driver=False, include_dashboard=False)

    def each(self, work: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
        """Do every job; give results as they come; Ray repeats what a lost machine was doing."""
        task = self._ray.remote(num_cpus=1)(work)
        waiting = [task.remote(job) for job in jobs]
        while waiting:
            done, waiting = self._ray.wait(waiting)
            for one in done:
                try:
                    result = self._ray.get(one)
                except self._ray.exceptions.RayTaskError as error:
                    raise error.cause from error  # ours: one line, an exit code
                yield result


def open_executor(kind: str, jobs: int) -> Executor:
    """Return an executor.

    Args:
        kind: one of `EXECUTORS`.
        jobs: processes of the local one.

    Raises:
        InputError: another kind.
        ModuleNotFoundError: Ray is not installed.

    """
    if kind == "local":
        return LocalExecutor(jobs)
    if kind == "ray":
        return RayExecutor()
    raise InputError(f"want an executor of {', '.join(EXECUTORS)}, got {kind!r}")


def _end_with_parent() -> None:
    """Make a worker die with the command: at once by Ctrl-C, and when the command was killed."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
