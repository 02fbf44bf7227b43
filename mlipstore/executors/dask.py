"""Workers of a Dask cluster: one started here, or one that runs already (dask-jobqueue, dask-mpi, Kubernetes ...).

Workers of a cluster started here are processes with one thread each; one alone is a thread of this process, where a
process would only add the time of its start. A worker that dies costs what it was doing: Dask gives its tasks, and
those whose results are lost with it, to others. Parts of a reduction stay on the workers and travel between them;
only what it comes to arrives here.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Any, TypeVar

from ..cards import number_worker
from ..errors import ComputeError, MissingDependencyError, SettingsError
from ..reduction import Packed, Subtree, merge_packed, run_subtree, subtrees
from . import Executor, fewer
from ._pool import THREAD_VARIABLES, Outcome, Pool, Pooled, call_pinned, one_thread_each, uninterrupted
from .serial import Serial

T = TypeVar("T")
R = TypeVar("R")
#: So many workers may die over one task before the task is thought to be the reason.
_DEATHS = 10
#: Seconds after which a worker of a cluster started here that has not come back is replaced; how long that may take.
_PATIENCE, _START = 30.0, 60.0
#: Seconds between looks at a cluster that runs elsewhere and has no workers, after which that is told, and given up.
_LOOK, _TELL, _GIVE_UP = 1.0, 5.0, 1800.0
_LOST = (
    "the connection to the Dask scheduler is lost. What was committed stays; run the same command again to continue."
)
#: Dask watches itself many times a second: profiles of workers, ticks of loops, thefts. Tasks take seconds here.
_QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.scheduler.work-stealing-interval": "1s",
}
_numbers = count()
#: Addresses of schedulers that are being closed: a worker that is a thread here cannot be ended, so it ends by itself.
_closing: set[str] = set()
#: One cluster starts at a time: Dask imports as it starts, and the environment is changed meanwhile.
_start_alone = threading.Lock()
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dask(Pooled):
    """Tasks run on Dask workers.

    :param workers: of a cluster started here; 0 = one per processor this process may use
    :param scheduler: address of a running scheduler (``tcp://host:8786``), or a scheduler file; none is started then
    """

    workers: int = 0
    scheduler: str | None = None
    _running: list[Any] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise SettingsError(f"workers is {self.workers}; give a positive number, or 0 for one per processor.")
        if self.workers and self.scheduler:
            raise SettingsError("a scheduler has the workers it has: give workers or a scheduler, not both.")

    @property
    def n_workers(self) -> int:
        if self.scheduler is None:
            return self.workers or len(os.sched_getaffinity(0))
        threads: dict[str, int] = self.client().nthreads()
        return max(1, sum(threads.values()))

    @property
    def warm_up(self) -> float:
        if self._running or self.scheduler:
            return 0.0
        return 3.0 if self.n_workers > 1 else 0.3

    def within(self, most: int) -> Executor:
        if self.scheduler is not None or self.n_workers <= most:
            return self
        return Dask(most) if fewer(self.workers, most) > 0 else Serial()

    def unless_asked(self, most: int) -> Executor:
        return self if self.workers or self.scheduler is not None else self.within(most)

    def client(self) -> Any:
        """The ``distributed.Client``, connected at the first call.

        :raises ComputeError: no scheduler answers, no worker has come to it for half an hour, or its workers lack
            mlipstore or have another version
        """
        if not self._running:
            self._running.append(_connect(self.scheduler) if self.scheduler else _start(self.n_workers))
        return self._running[0]

    @contextmanager
    def _pool(self) -> Iterator[Pool]:
        calls = _Calls(self.client())
        try:
            yield calls
        except KeyboardInterrupt:
            calls.cancel()
            self.close()
            raise
        finally:
            calls.cancel()

    def reduce(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        merge: Callable[[R, R], R],
        done: Callable[[int], None] | None = None,
    ) -> R:
        _, parts = subtrees(function, tasks, merge, self.n_workers)
        with self._pool() as pool:
            assert isinstance(pool, _Calls)
            nodes = [pool.start(i, -i, _subtree, part) for i, part in enumerate(parts)]
            number = len(parts) - 1
            while len(nodes) > 1:
                level = []
                for i in range(0, len(nodes), 2):
                    left, right = nodes[i], nodes[i + 1 : i + 2]
                    if right:
                        number += 1
                        left = pool.start(number, 1, _merge, merge, left, *right)
                    level.append(left)
                nodes = level
            pool.keep, finished = number, 0
            while True:
                for outcome in pool.wait():
                    if outcome.error is not None:
                        raise outcome.error
                    if outcome.number < len(parts):
                        finished += len(parts[outcome.number].tasks)
                        if done is not None:
                            done(finished)
                    if outcome.number == number:
                        result: R = outcome.value.take()
                        return result

    def close(self) -> None:
        while self._running:
            client = self._running.pop()
            cluster, address = client.cluster, client.scheduler.address
            _closing.add(address)
            try:
                client.close()
                if cluster is not None:
                    cluster.close()
            finally:
                _closing.discard(address)


class _Calls(Pool):
    """Calls that one ``map`` or ``reduce`` has sent to the scheduler."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.under_way: dict[int, Any] = {}
        self.done: queue.SimpleQueue[int] = queue.SimpleQueue()
        #: the number whose value is wanted here; None: of all
        self.keep: int | None = None
        self.short_since: float | None = None
        self.deserted = _Deserted(client)

    def submit(self, number: int, function: Callable[[Any], Any], task: Any) -> None:
        self.start(number, -number, _call, function, task, number)

    def start(self, number: int, priority: int, function: Callable[..., Any], *arguments: Any) -> Any:
        """A future of ``function(*arguments)``; arguments may be such futures."""
        future = self.client.submit(
            function, *arguments, key=f"mlipstore-{os.getpid()}-{next(_numbers)}", pure=False, priority=priority
        )
        self.under_way[number] = future
        future.add_done_callback(lambda _: self.done.put(number))
        return future

    def wait(self) -> list[Outcome]:
        while True:
            try:
                number = self.done.get(timeout=1.0)
                break
            except queue.Empty:
                if self.client.status != "running":
                    raise ComputeError(_LOST) from None
                self._replace_lost()
                self.deserted.look()
        future = self.under_way[number]
        error = future.exception()
        if error is not None:
            return [Outcome(number, error=_told(error))]
        if self.keep not in (None, number):
            return [Outcome(number)]
        # from the worker itself: a scheduler is no place for large results
        value = self.client.gather(future, direct=True)
        del self.under_way[number]
        return [value if isinstance(value, Outcome) else Outcome(number, value)]

    def _replace_lost(self) -> None:
        """Dask starts a worker that dies again, but not one that dies before its watcher has seen it connect."""
        cluster = self.client.cluster
        if cluster is None or len(cluster.scheduler.workers) >= len(cluster.worker_spec):
            self.short_since = None
        elif self.short_since is None:
            self.short_since = time.monotonic()
        elif time.monotonic() > self.short_since + _PATIENCE:
            wanted = len(cluster.worker_spec)
            with _starting():
                cluster.scale(len(cluster.scheduler.workers))
                cluster.scale(wanted)
                with suppress(TimeoutError):
                    self.client.wait_for_workers(wanted, timeout=_START)
            self.short_since = None

    def cancel(self) -> None:
        """Nothing more begins."""
        if self.under_way:
            futures = list(self.under_way.values())
            self.under_way.clear()
            if self.client.status == "running":
                self.client.cancel(futures)


class _Deserted:
    """How long a cluster that runs elsewhere has had no workers: told after a while, and then given up.

    :param clock: gives seconds
    """

    def __init__(self, client: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self.client, self.clock = client, clock
        self.since: float | None = None
        self.told = False

    def look(self) -> bool:
        """Whether there are no workers.

        :raises ComputeError: there have been none for half an hour, or the scheduler is gone
        """
        try:
            if self.client.cluster is not None or self.client.nthreads():
                self.since, self.told = None, False
                return False
        except OSError:
            raise ComputeError(_LOST) from None
        now, place = self.clock(), self.client.scheduler.address
        if self.since is None:
            self.since = now
        if now - self.since >= _GIVE_UP:
            raise ComputeError(
                f"no worker has connected to the Dask scheduler at {place} for {_GIVE_UP / 60:.0f} minutes. Start some "
                f"(dask worker {place} --nthreads 1) and run the same command again; what was committed stays."
            )
        if now - self.since >= _TELL and not self.told:
            self.told = True
            _log.warning(
                "no workers are connected to the Dask scheduler at %s: waiting for them, for %.0f minutes at most "
                "(Ctrl-C ends that).", place, _GIVE_UP / 60
            )  # fmt: skip
        return True


def _call(function: Callable[[Any], Any], task: Any, number: int = 0) -> Outcome:
    """What a worker does with a task. Those of a cluster that is started here are called 0, 1, ..."""
    from distributed import get_worker

    worker = get_worker()
    if isinstance(worker.name, int) and worker.nanny is not None:
        number_worker(worker.name)
    return call_pinned(function, task, number)


def _subtree(part: Subtree[Any]) -> Packed[Any]:
    packed: Packed[Any] = _or_raise(_call(run_subtree, replace(part, function=partial(_unless_closing, part.function))))
    return packed


def _unless_closing(function: Callable[[Any], Any], task: Any) -> Any:
    """A leaf of a subtree, which may be a large part of all the work: nobody waits for the rest of one."""
    from distributed import get_worker

    if get_worker().scheduler.address in _closing:
        raise ComputeError(_LOST)
    return function(task)


def _merge(merge: Callable[[Any, Any], Any], left: Packed[Any], right: Packed[Any]) -> Packed[Any]:
    """Two nodes merged. Dask may want to repeat this, so they stay as they are."""
    packed: Packed[Any] = _or_raise(_call(_merge_copies, (merge, left, right)))
    return packed


def _merge_copies(task: tuple[Callable[[Any, Any], Any], Packed[Any], Packed[Any]]) -> Packed[Any]:
    merge, left, right = task
    return merge_packed(merge, left.copy(), right.copy())


def _or_raise(outcome: Outcome) -> Any:
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


def _told(error: BaseException) -> BaseException:
    """What Dask says of its own, as an error that a user can act on."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return ComputeError(
            "workers died again and again over the same task (out of memory, most likely). What was committed stays; "
            "run the same command again to continue, with workers that have more memory."
        )
    if type(error).__module__.partition(".")[0] in ("distributed", "dask"):
        return ComputeError(f"Dask says: {error}. What was committed stays; run the same command again to continue.")
    return error


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise MissingDependencyError(
            'the executor dask needs Dask. Install it with: pip install "mlipstore[dask]".'
        ) from None
    return distributed


@contextmanager
def _starting() -> Iterator[None]:
    """Workers that start meanwhile have one thread and no Ctrl-C, and Dask watches them less."""
    import dask

    one = dict.fromkeys(THREAD_VARIABLES, "1")
    settings = {
        "distributed.scheduler.allowed-failures": _DEATHS,
        **_QUIET,
        "distributed.nanny.pre-spawn-environ": {**dask.config.get("distributed.nanny.pre-spawn-environ", {}), **one},
    }
    with one_thread_each(), uninterrupted(), dask.config.set(settings):
        yield


def _start(workers: int) -> Any:
    """A client of a cluster on this machine."""
    distributed = _distributed()
    for name in ("distributed", "distributed.nanny", "distributed.scheduler"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # a dead worker is made good, and no news
    with _start_alone, _starting():
        cluster = distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=workers > 1, memory_limit=0,
            dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL,
        )  # fmt: skip
        return distributed.Client(cluster, set_as_default=False)


def _connect(scheduler: str) -> Any:
    """A client of a cluster that runs."""
    from .. import __version__

    distributed = _distributed()
    try:
        if os.path.isfile(scheduler):
            client = distributed.Client(scheduler_file=scheduler, set_as_default=False, timeout=30)
        else:
            client = distributed.Client(scheduler, set_as_default=False, timeout=30)
    except (OSError, TimeoutError, ValueError) as error:
        raise ComputeError(f"no Dask scheduler answers at {scheduler}: {error}") from None
    try:
        _await_worker(client)
        found = client.run(_version)
    except (ComputeError, KeyboardInterrupt):
        client.close()
        raise
    except Exception as error:
        client.close()
        raise ComputeError(f"the Dask workers of {scheduler} cannot import mlipstore {__version__}: {error}") from None
    for worker, version in found.items():
        if version != __version__:
            client.close()
            raise ComputeError(
                f"the Dask worker {worker} has mlipstore {version}, here it is {__version__}. Install the same."
            )
    return client


def _await_worker(client: Any) -> None:
    """Wait until there is a worker. A cluster that grows with its tasks is given one, or it would never have any."""
    deserted = _Deserted(client)
    if deserted.look():
        wanted = client.submit(int, pure=False)
        while deserted.look():
            with suppress(OSError):  # no worker within this time, or no scheduler any more, which the look tells
                client.wait_for_workers(1, timeout=_LOOK)
        wanted.release()


def _version() -> str:
    from .. import __version__

    return __version__


plugin = Dask
