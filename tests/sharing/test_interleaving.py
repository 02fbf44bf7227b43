"""Writers, readers and collections of garbage in any order: the outcome is that of the commits one after another."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from mlipstore.arrays import write_array
from mlipstore.cleaning import gc
from mlipstore.configuration import Batch, Configuration
from mlipstore.index import Index, write_segment
from mlipstore.layout import BASELINES
from mlipstore.snapshot import Snapshot
from mlipstore.store import Repository, Transaction
from mlipstore.verify import verify

from ..small_store import configurations

#: More in ``make extended``.
EXAMPLES, STEPS = (100, 40) if "MLIPSTORE_WRITERS" in os.environ else (4, 12)
WRITERS = st.integers(0, 2)


class Interleaving(RuleBasedStateMachine):
    """Three writers with a transaction each, and readers that keep the version they began with."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="mlipstore-"))
        self.repository = Repository.create(self.folder / "a.mlip")
        self.open: dict[int, tuple[ExitStack, Transaction, str, str]] = {}
        self.committed: dict[str, int] = {}
        self.segments: list[str] = []
        self.readers: list[tuple[Snapshot, dict[str, int], int]] = []
        self.count = 0

    @precondition(lambda self: len(self.open) < 3)
    @rule(writer=WRITERS)
    def begin(self, writer: int) -> None:
        """Write an array and a segment, and do not commit them yet."""
        if writer in self.open:
            return
        self.count += 1
        name, segment = f"thing{self.count}", f"{self.count:016x}"
        stack = ExitStack()
        tx = stack.enter_context(Repository.open(self.repository.path).transaction(name, {"verb": "test"}))
        write_array(tx.group(f"studies/{name}"), BASELINES["energy"], np.full(2_000, float(self.count)))
        atoms = configurations(2, self.count, ("only",))
        write_segment(tx, segment, Batch.from_configurations([Configuration.from_ase(a, "only") for a in atoms]))
        self.open[writer] = stack, tx, name, segment

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def commit(self, data: Any) -> None:
        stack, tx, name, segment = self.open.pop(data.draw(st.sampled_from(sorted(self.open))))
        stack.close()
        assert tx.snapshot_id
        self.committed[name] = int(name.removeprefix("thing"))
        self.segments.append(segment)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def fail(self, data: Any) -> None:
        """An exception in a transaction: nothing of it stays."""
        stack, *_ = self.open.pop(data.draw(st.sampled_from(sorted(self.open))))
        with pytest.raises(ZeroDivisionError), stack:
            raise ZeroDivisionError

    @rule()
    def collect(self) -> None:
        gc(self.repository, grace=0.0)

    @rule()
    def begin_to_read(self) -> None:
        self.readers.append((self.repository.at(), dict(self.committed), len(self.segments)))

    @invariant()
    def every_reader_sees_its_version(self) -> None:
        for snapshot, committed, n in [*self.readers[-2:], (self.repository.at(), self.committed, len(self.segments))]:
            assert snapshot.names("studies") == sorted(committed)
            for name, value in list(committed.items())[-2:]:
                assert (snapshot.read(f"studies/{name}/energy") == value).all()
            index = Index(snapshot)
            assert [s.name for s in index.segments] == self.segments[:n] and len(index.uid) == 2 * n

    def teardown(self) -> None:
        for stack, *_ in self.open.values():
            stack.close()
        gc(self.repository, grace=0.0)
        report = verify(self.repository.path)
        assert report.sound and not report.problems and not report.orphans, [str(p) for p in report.problems]
        shutil.rmtree(self.folder)


def test_any_interleaving_is_a_serial_order() -> None:
    few = settings(max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, derandomize=True, database=None)
    run_state_machine_as_test(Interleaving, settings=few)
