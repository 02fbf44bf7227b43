"""What an ingest asks of a store: the same as from dictionaries, where hashes begin alike, too."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mlipstore.bookkeeping import Checks
from mlipstore.configuration import Batch, Configuration
from mlipstore.index import DELETED, LIVE, MOVED, REPLACED, keys, write_segments
from mlipstore.seen import Beginnings, Seen
from mlipstore.store import Repository, overwrite

#: Numbers that hashes begin and end with: few, so that copies and equal beginnings are many.
hashes = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=30)


def table(values: list[tuple[int, int]], at: int, width: int = 32) -> NDArray[np.uint8]:
    """Hashes ``(n, width)`` that differ in the byte ``at`` and in the last one."""
    out = np.zeros((len(values), width), np.uint8)
    for row, (begin, end) in zip(out, values, strict=True):
        row[at], row[-1] = begin, end
    return out


@pytest.mark.parametrize("at", [0, 1, 2, 3, 7])
@given(there=hashes, asked=hashes)
@settings(max_examples=30, deadline=None)
def test_beginnings(at: int, there: list[tuple[int, int]], asked: list[tuple[int, int]]) -> None:
    begins, ask = [k[:4] for k in keys(table(there, at))], {k[:4] for k in keys(table(asked, at))}
    found = Beginnings(table(there, at))
    assert sorted(found.like(table(asked, at))) == [i for i, k in enumerate(begins) if k in ask]
    assert sorted(found.shared()) == [i for i, k in enumerate(begins) if begins.count(k) > 1]


#: Geometries that differ from the fifth byte on, in the last one, or in the first.
GEOMETRIES = np.concatenate([table([(1, 0), (2, 0), (1, 1)], 4, 16), table([(9, 0)], 0, 16)])


def batch(rng: np.random.Generator, n: int) -> Batch:
    """Configurations of few geometries, two contents of each; contents begin alike, too."""
    one = Configuration(np.array([74]), np.zeros((1, 3)), 3.0 * np.eye(3), np.ones(3, bool), energy=1.0)
    out = Batch.from_configurations([one] * n)
    kind, label = rng.integers(0, len(GEOMETRIES), n), rng.integers(0, 2, n)
    uid = np.zeros((n, 32), np.uint8)
    uid[:, 30], uid[:, 31] = kind, label
    return replace(out, uid=uid, geometry=GEOMETRIES[kind], group=rng.choice(np.array(["a", "b"], object), n))


@pytest.mark.parametrize("seed", range(3))
def test_the_same_as_from_dictionaries(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    repository = Repository.create(tmp_path / "s.mlip")
    first, second = batch(rng, 7), batch(rng, 9)
    state = rng.choice(np.array([LIVE, LIVE, DELETED, REPLACED, MOVED], np.uint8), 16)
    with repository.transaction("", {"verb": "ingest"}) as tx:
        write_segments(tx, {"one": first, "two": second})
        tx.at_commit(lambda root: overwrite(root["index"], "state", state))  # type: ignore[arg-type]
    uids = [*keys(first.uid), *keys(second.uid)]
    geometries = [*keys(first.geometry), *keys(second.geometry)]
    groups = [*first.group, *second.group]
    taken = Counter(u for u, s in zip(uids, state, strict=True) if s != MOVED)
    live = Counter(u for u, s in zip(uids, state, strict=True) if s == LIVE)
    live_geometries = {g for g, s in zip(geometries, state, strict=True) if s == LIVE}

    seen, new = Seen(repository.at()), batch(rng, 20)
    mine = keys(new.uid)
    copy = seen.count(new)
    assert copy.tolist() == [mine[: i + 1].count(k) for i, k in enumerate(mine)]
    fresh = seen.fresh(new, copy)
    assert fresh.tolist() == [n > taken[k] for n, k in zip(copy, mine, strict=True)]
    known = [k for k, f in zip(mine, fresh, strict=True) if not f]
    assert seen.gone(new, fresh) == sum(live[k] == 0 for k in known)
    others = [g in live_geometries and not taken[k] for g, k in zip(keys(new.geometry), mine, strict=True)]
    assert seen.relabelled(new) == sum(others)

    added = new.take(np.flatnonzero(fresh))
    seen.stored_now("three", added)
    of: dict[bytes, list[str]] = {}
    counting = [g for g, s in zip(zip(geometries, groups, strict=True), state, strict=True) if s == LIVE]
    for geometry, group in [*counting, *zip(keys(added.geometry), added.group, strict=True)]:
        of.setdefault(geometry[:8], []).append(group)  # eight bytes tell geometries apart there
    checks = Checks()
    checks.finish(*seen.places())
    assert checks.copies == sum(len(g) - 1 for g in of.values())
    assert checks.copied_geometries == sum(len(g) > 1 for g in of.values())
    assert checks.geometries_in_several_groups == sum(len(set(g)) > 1 for g in of.values())
