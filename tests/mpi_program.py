"""Run under ``mpiexec`` by ``tests/unit/test_mpi.py``: the contract of the executor on several ranks."""

from __future__ import annotations

import itertools

from mlipstore.errors import InputError
from mlipstore.executors.mpi import Mpi
from mlipstore.executors.serial import Serial
from mlipstore.solve.tree import join
from tests import executor_tasks as tasks

executor = Mpi()
if executor.serve():
    raise SystemExit

assert list(executor.map(tasks.square, range(50))) == [i * i for i in range(50)]
assert sorted(executor.unordered(tasks.square, range(50))) == [(i, i * i) for i in range(50)]
taken = itertools.count()
few = executor.map(tasks.square, (next(taken) for _ in range(1000)))
assert list(itertools.islice(few, 9)) == [i * i for i in range(9)]
del few
assert next(taken) < 9 + 2 * executor.n_workers + 2
for n in (1, 2, 3, tasks.LEAVES):
    expected = Serial().reduce(tasks.leaf, range(n), join)
    told: list[int] = []
    factor = executor.reduce(tasks.leaf, range(n), join, told.append)
    assert factor is not None and expected is not None
    assert factor.packed().tobytes() == expected.packed().tobytes()
    assert told[-1] == n
assert executor.reduce(tasks.leaf, [4, 4, 4], join) is None
for run in (executor.map, executor.unordered):
    try:
        list(run(tasks.fail_at_five, range(9)))
    except InputError as error:
        assert str(error) == "train.xyz, frame 3 (line 17): no forces"
    else:
        raise AssertionError("the error is lost")
try:
    executor.reduce(tasks.bad_leaf, range(tasks.LEAVES), join)
except InputError:
    pass
else:
    raise AssertionError("the error is lost")
try:
    list(executor.map(tasks.fail_oddly, range(2)))
except Exception as error:
    assert "went wrong" in str(error), error
assert set().union(*executor.map(tasks.blas_threads, range(4))) <= {1}
executor.close()
assert list(executor.map(tasks.square, [3])) == [9]
print("kept")
