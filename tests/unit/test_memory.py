"""Projected memory, and what an error about it advises."""

from __future__ import annotations

import re

import pytest

from mlipstore import registry
from mlipstore.errors import MemoryLimitError
from mlipstore.memory import FitMemory, fit_memory, parse_bytes, require


def plan(block_rows: int) -> FitMemory:
    return fit_memory(1000, block_rows, 65_536, n_leaves=20)


def test_what_fits_is_not_refused() -> None:
    require(plan, 1000, 4096, plan(4096).total, given=True)


def test_smaller_blocks_are_advised_where_they_help() -> None:
    with pytest.raises(MemoryLimitError) as caught:
        require(plan, 1000, 4096, plan(4096).total - 1, given=True)
    advised = re.search(r"block_rows = (\d+) in \[fit\] needs ([\d.]+ MB)\.$", str(caught.value))
    assert advised is not None
    assert advised[1] == "2048"
    assert parse_bytes(advised[2].replace(" ", "")) == pytest.approx(plan(2048).total, rel=0.01)


@pytest.mark.parametrize(
    ("given", "advice"), [(True, "Allow more with --memory"), (False, "Take a machine with more memory")]
)
def test_the_least_is_said_where_they_do_not(given: bool, advice: str) -> None:
    with pytest.raises(MemoryLimitError, match=r"for 1,000 columns .*With block_rows = 256 in") as caught:
        require(plan, 1000, 4096, 1 << 20, given)
    assert advice in str(caught.value)
    with pytest.raises(MemoryLimitError, match=r"(allowed|here)\. (Allow|Take)"):
        require(plan, 1000, 1, 1 << 20, given)


def test_no_fewer_rows_are_advised_than_make_a_difference() -> None:
    """Blocks are whole chunks of 3,000 rows here."""

    def stored(block_rows: int) -> FitMemory:
        return plan(max(1, block_rows // 3000) * 3000)

    with pytest.raises(MemoryLimitError, match=r"block_rows = 4096 in \[fit\] needs"):
        require(stored, 1000, 9000, plan(3000).total, True, 3000)
    with pytest.raises(MemoryLimitError, match=r"With block_rows = 3000 in \[fit\], the least, it is"):
        require(stored, 1000, 9000, 1 << 20, True, 3000)
    with pytest.raises(MemoryLimitError, match=r"allowed\. Allow more"):
        require(stored, 1000, 3000, 1 << 20, True, 3000)


def test_parts_say_what_makes_the_total() -> None:
    amounts = re.findall(r"([\d.]+ .?B)", plan(4096).parts())
    assert sum(parse_bytes(a.replace(" ", "")) for a in amounts) == pytest.approx(plan(4096).total, rel=0.01)


def test_more_leaves_leave_more_triangles_waiting() -> None:
    of = [fit_memory(1000, 4096, 0, n_leaves=n).waiting for n in (1, 2, 3, 4, 5, 64)]
    triangle = 4 * 1001 * 1002
    assert of == [k * triangle for k in (0, 1, 2, 2, 3, 6)]


def test_rows_of_one_element_take_no_second_factor() -> None:
    one, several = (fit_memory(12_000, 1024, 0, zeros=zeros) for zeros in (False, True))
    assert several.factor > 1.2 * one.factor
    assert one.factor >= 8 * 3 * 12_001**2


@pytest.mark.parametrize("name", registry.names("solvers"))
def test_solvers_say_what_they_hold(name: str) -> None:
    assert 4 <= registry.get("solvers", name).matrices <= 12
