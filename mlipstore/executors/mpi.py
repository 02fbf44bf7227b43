"""MPI ranks: rank 0 runs the command and hands tasks out, the others do them.

``mpiexec -n P mlipstore VERB ... --executor mpi``. Ranks poll for messages with short sleeps instead of spinning, so P
may be one more than there are processors. Parts of a reduction stay on their ranks and travel between them; only what
it comes to goes to rank 0. With one rank everything runs there.

A script of your own does the same with::

    executor = Mpi()
    if executor.serve():        # every rank but 0, until rank 0 closes the executor
        raise SystemExit
    featurize(repository, feature, None, executor)
    executor.close()
"""

from __future__ import annotations

import atexit
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from ..errors import MissingDependencyError
from ..reduction import Node, Packed, merge_of, raised, run_subtree, subtrees, widths
from ._pool import Outcome, Pool, Pooled, call_pinned, portable
from .serial import Serial

T = TypeVar("T")
R = TypeVar("R")
_SHORTEST, _LONGEST = 2e-5, 1e-2  # s between two looks for a message
_COMMAND, _REPORT, _DATA = 1, 2, 3  # tags


@dataclass(frozen=True)
class Mpi(Pooled):
    """Tasks run on the ranks of the MPI job this process belongs to."""

    @property
    def n_workers(self) -> int:
        size: int = _world().size
        return max(1, size - 1)

    @property
    def warm_up(self) -> float:
        return 0.0

    def within(self, most: int) -> Mpi:
        return self

    def unless_asked(self, most: int) -> Mpi:
        return self  # it was asked for by mpiexec

    def serve(self) -> bool:
        """On rank 0: False at once. On the others: do tasks until rank 0 closes the executor, then True."""
        if _world().rank == 0:
            _ranks()
            return False
        _Server().run()
        return True

    def _alone(self) -> bool:
        return _world().size == 1 or _ranks().stopped

    @contextmanager
    def _pool(self) -> Iterator[Pool]:
        ranks = _ranks()
        try:
            yield ranks
        except KeyboardInterrupt:
            _abort(130)
            raise
        finally:
            ranks.cancel()

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        return Serial().map(function, tasks) if self._alone() else super().map(function, tasks)

    def unordered(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[tuple[int, R]]:
        return Serial().unordered(function, tasks) if self._alone() else super().unordered(function, tasks)

    def reduce(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        merge: Callable[[R, R], R],
        done: Callable[[int], None] | None = None,
    ) -> R:
        if self._alone():
            return Serial().reduce(function, tasks, merge, done)
        with self._pool() as ranks:
            assert isinstance(ranks, _Ranks)
            result: R = _Reduction(ranks, function, tasks, merge, done).result()
            return result

    def close(self) -> None:
        """Let the other ranks go; what is called later runs on rank 0."""
        if _world().size > 1:
            _ranks().stop()


# ------------------------------------------------------------------- rank 0
class _Ranks(Pool):
    """The other ranks, seen from rank 0."""

    def __init__(self) -> None:
        self.communicator = _communicator()
        self.idle = list(range(1, self.communicator.size))
        self.queue: deque[tuple[int, Callable[[Any], Any], Any]] = deque()
        self.stopped = False

    def submit(self, number: int, function: Callable[[Any], Any], task: Any) -> None:
        self.queue.append((number, function, task))
        self._hand_out()

    def wait(self) -> list[Outcome]:
        outcome = self.report()[1]
        self._hand_out()
        return [outcome]

    def cancel(self) -> None:
        self.queue.clear()
        while len(self.idle) < self.communicator.size - 1 and not self.stopped:
            self.report()

    def send(self, rank: int, name: str, *arguments: Any) -> None:
        """Give an idle rank something to do: a method of :class:`_Server`."""
        self.idle.remove(rank)
        self.communicator.send((name, arguments), rank, _COMMAND)

    def report(self) -> tuple[int, Outcome]:
        """Wait for a rank that is done with what it was given."""
        rank, outcome = _receive(self.communicator, _REPORT)
        self.idle.append(rank)
        return rank, outcome

    def stop(self) -> None:
        """Let the other ranks go."""
        if not self.stopped:
            self.cancel()
            self.stopped = True
            for rank in range(1, self.communicator.size):
                self.communicator.send(("stop", ()), rank, _COMMAND)

    def _hand_out(self) -> None:
        while self.queue and self.idle:
            self.send(self.idle[0], "call", *self.queue.popleft())


class _Reduction:
    """A reduction whose parts stay on the ranks: rank 0 only says who merges what with what.

    Subtrees are handed out first. Two nodes on one rank are merged as soon as that rank is free, two on different ranks
    when both are; so a rank waits for another one only when no subtree is left.
    """

    def __init__(
        self,
        ranks: _Ranks,
        function: Callable[[T], R],
        tasks: Sequence[T],
        merge: Callable[[R, R], R],
        done: Callable[[int], None] | None,
    ) -> None:
        self.ranks, self.merge, self.done = ranks, merge, done
        _, self.parts = subtrees(function, tasks, merge, ranks.communicator.size - 1)
        self.waiting = deque(enumerate(self.parts))
        self.widths = widths(len(self.parts))
        #: rank, name there and size in bytes of each node that nobody works on
        self.where: dict[Node, tuple[int, Node, int]] = {}
        self.finished = 0
        self.makes: dict[int, Node] = {}  # by rank: the node it is making

    def result(self) -> Any:
        root = (len(self.widths) - 1, 0)
        try:
            while root not in self.where:
                self._start()
                self._take(*self.ranks.report())
            rank, name, size = self.where[root]
            self.ranks.send(rank, "give", name, 0)
            packed = _receive_packed(self.ranks.communicator, rank, size)
            self.ranks.report()
            return packed.take()
        finally:
            self.ranks.cancel()
            for rank in list(self.ranks.idle):
                self.ranks.send(rank, "forget")
            self.ranks.cancel()

    def _start(self) -> None:
        for level, index in sorted(n for n in self.where if n[1] % 2 == 0 and (n[0], n[1] + 1) in self.where):
            left, right = (level, index), (level, index + 1)
            (mine, first, _), (other, second, size) = self.where[left], self.where[right]
            if mine in self.ranks.idle and other in self.ranks.idle:
                del self.where[left], self.where[right]
                self.makes[mine] = above = (level + 1, index // 2)
                if other != mine:
                    self.ranks.send(other, "give", second, mine)
                self.ranks.send(mine, "merge", self.merge, first, second, other, size, above)
        while self.waiting and self.ranks.idle:
            index, part = self.waiting.popleft()
            rank = self.ranks.idle[0]
            self.makes[rank] = (0, index)
            self.ranks.send(rank, "reduce", part, (0, index))

    def _take(self, rank: int, outcome: Outcome) -> None:
        if outcome.error is not None:
            raise outcome.error
        if outcome.value is None:  # it gave a node away
            return
        level, index = name = self.makes.pop(rank)
        if level == 0:
            self.finished += len(self.parts[index].tasks)
            if self.done is not None:
                self.done(self.finished)
        self.where[raised((level, index), self.widths)] = rank, name, outcome.value


# ------------------------------------------------------------- other ranks
class _Server:
    """A rank other than 0: does what it is told and reports."""

    def __init__(self) -> None:
        self.communicator = _communicator()
        self.nodes: dict[Node, Packed[Any]] = {}

    def run(self) -> None:
        """Until rank 0 says stop."""
        try:
            while True:
                try:
                    _, (name, arguments) = _receive(self.communicator, _COMMAND)
                    if name == "stop":
                        return
                    self._report(getattr(self, name)(*arguments))
                except Exception as error:  # what was sent, or what came of it, cannot be unpacked or packed
                    self._report(Outcome(0, error=portable(error)))
        except KeyboardInterrupt:  # rank 0 tells what happened
            _abort(130)

    def _report(self, outcome: Outcome) -> None:
        self.communicator.send(outcome, 0, _REPORT)

    def call(self, number: int, function: Callable[[Any], Any], task: Any) -> Outcome:
        return call_pinned(function, task, number)

    def reduce(self, part: Any, node: Node) -> Outcome:
        outcome = call_pinned(run_subtree, part)
        return self._keep(node, outcome)

    def give(self, node: Node, rank: int) -> Outcome:
        self.communicator.Send(self.nodes.pop(node).data, rank, _DATA)
        return Outcome(0)

    def merge(
        self, merge: Callable[[Any, Any], Any], left: Node, right: Node, other: int, size: int, node: Node
    ) -> Outcome:
        if other != self.communicator.rank:
            self.nodes[right] = _receive_packed(self.communicator, other, size)
        task = (merge, self.nodes.pop(left), self.nodes.pop(right))
        return self._keep(node, call_pinned(merge_of, task))

    def forget(self) -> Outcome:
        self.nodes.clear()
        return Outcome(0)

    def _keep(self, node: Node, outcome: Outcome) -> Outcome:
        if outcome.error is not None:
            return outcome
        self.nodes[node] = outcome.value
        return Outcome(0, len(outcome.value.data))


# ----------------------------------------------------------------- MPI itself
def _world() -> Any:
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise MissingDependencyError(
            f"the executor mpi needs mpi4py and an MPI library ({error}). Install them with: "
            'pip install "mlipstore[mpi]".'
        ) from None
    return MPI.COMM_WORLD


@cache
def _communicator() -> Any:
    """All ranks, apart from what else uses MPI in this process; every rank calls this once."""
    return _world().Dup()


@cache
def _ranks() -> _Ranks:
    ranks = _Ranks()
    atexit.register(ranks.stop)  # before MPI is finalized, which waits for the others
    return ranks


def _receive(communicator: Any, tag: int) -> tuple[int, Any]:
    """Rank and object of the next message. MPI would spin while it waits; this leaves the processor to others."""
    from mpi4py import MPI

    status, pause = MPI.Status(), _SHORTEST
    while not communicator.iprobe(MPI.ANY_SOURCE, tag, status):
        time.sleep(pause)
        pause = min(1.5 * pause, _LONGEST)
    rank = status.Get_source()
    return rank, communicator.recv(source=rank, tag=tag)


def _receive_packed(communicator: Any, rank: int, size: int) -> Packed[Any]:
    """What another rank is sending just now."""
    try:
        data = bytearray(size)
    except MemoryError:  # the other one waits for us to take it
        print(
            f"error: rank {communicator.rank} has no memory for a part of {size:,} bytes.", file=sys.stderr, flush=True
        )
        _world().Abort(1)
        raise
    communicator.Recv(data, rank, _DATA)
    return Packed.of_bytes(data)


def _abort(code: int) -> None:
    """End all ranks once this one has told what happened."""
    atexit.register(_world().Abort, code)


plugin = Mpi
