"""A Dask cluster of one worker is in this process; one elsewhere that has none is waited for, but not for ever."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from mlipstore.errors import ComputeError, InputError
from mlipstore.executors import dask as module
from mlipstore.executors.dask import Dask
from mlipstore.executors.serial import Serial
from mlipstore.solve.tree import join
from tests import executor_tasks as tasks


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A cluster in this process that somebody else has started, without workers."""
    distributed = pytest.importorskip("distributed", reason="needs Dask")
    with distributed.LocalCluster(
        n_workers=0, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0", memory_limit=0
    ) as made:
        yield made


def test_one_worker_is_a_thread_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it computes, the errors and the BLAS threads are those of a process, which would only cost its start."""
    pytest.importorskip("distributed", reason="needs Dask")
    monkeypatch.delenv("MLIPSTORE_WORKER", raising=False)
    executor = Dask(1)
    try:
        assert set(executor.client().run(os.getpid).values()) == {os.getpid()}
        assert list(executor.map(tasks.square, range(5))) == [0, 1, 4, 9, 16]
        assert list(executor.map(tasks.blas_threads, range(2))) == [{1}, {1}]
        factor, expected = (each.reduce(tasks.leaf, range(tasks.LEAVES), join) for each in (executor, Serial()))
        assert factor is not None and expected is not None
        assert factor.packed().tobytes() == expected.packed().tobytes()
        with pytest.raises(InputError, match="no forces"):
            list(executor.unordered(tasks.fail_at_five, range(9)))
        assert "MLIPSTORE_WORKER" not in os.environ  # the number of a process among those that share GPUs
    finally:
        executor.close()
    assert list(executor.map(tasks.square, [3])) == [9]  # started again
    executor.close()


_begun: list[int] = []


def _leaf(number: int) -> int:
    """The first one ends when the cluster is being closed."""
    _begun.append(number)
    while not module._closing:
        time.sleep(0.01)
    return number


def test_closing_does_not_wait_for_a_whole_subtree() -> None:
    """A thread cannot be ended as a process can, and one of four subtrees may take hours."""
    pytest.importorskip("distributed", reason="needs Dask")
    _begun.clear()
    executor = Dask(1)
    executor.client()
    ended: list[BaseException] = []

    def reduce() -> None:
        try:
            executor.reduce(_leaf, range(400), max)
        except BaseException as error:  # of whatever kind: the result is not asked for
            ended.append(error)

    thread = threading.Thread(target=reduce, daemon=True)
    thread.start()
    while not _begun and thread.is_alive():
        time.sleep(0.01)
    executor.close()
    thread.join(600)
    assert len(ended) == 1 and _begun == [0] and not module._closing


def test_clusters_start_one_after_another() -> None:
    pytest.importorskip("distributed", reason="needs Dask")
    results: list[list[int]] = []

    def work() -> None:
        executor = Dask(1)
        try:
            results.append(list(executor.map(tasks.square, range(3))))
        finally:
            executor.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)
    assert results == [[0, 1, 4]] * 3


def test_it_is_told_once_and_then_given_up(caplog: pytest.LogCaptureFixture) -> None:
    now, threads = [0.0], {"tcp://there:1": 1}
    client = SimpleNamespace(cluster=None, nthreads=threads.copy, scheduler=SimpleNamespace(address="tcp://there:8786"))
    deserted = module._Deserted(client, lambda: now[0])
    for end, found in ((10.0, True), (20.0, False)):
        assert deserted.look() is False
        client.nthreads = dict
        for now[0] in (end, end + 4.9, end + 5.0, end + 60.0, end + 1799.0):
            assert deserted.look() is True
            assert len(caplog.messages) == (now[0] >= end + 5.0)
        assert "at tcp://there:8786: waiting for them, for 30 minutes at most (Ctrl-C" in caplog.messages[0]
        if found:
            caplog.clear()
            client.nthreads = threads.copy
    now[0] = 20.0 + 1800.0
    with pytest.raises(
        ComputeError, match=r"tcp://there:8786 for 30 minutes. Start some \(dask worker tcp://there:8786"
    ):
        deserted.look()


def test_no_worker_ever(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GIVE_UP", 0.0)
    with pytest.raises(ComputeError, match="no worker has connected"):
        list(Dask(scheduler=cluster.scheduler_address).map(tasks.square, range(3)))


def test_a_worker_that_comes_late(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes when the message does; the same again when it has gone."""
    monkeypatch.setattr(module, "_TELL", 0.0)
    told: list[str] = []

    class Start(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())
            cluster.scale(1)

    handler, log = Start(), logging.getLogger(module.__name__)
    log.addHandler(handler)
    executor = Dask(scheduler=cluster.scheduler_address)
    try:
        assert list(executor.map(tasks.square, range(3))) == [0, 1, 4]
        assert len(told) == 1 and cluster.scheduler_address in told[0]
        cluster.scale(0)
        assert list(executor.map(tasks.square, range(3))) == [0, 1, 4]
    finally:
        log.removeHandler(handler)
        executor.close()
