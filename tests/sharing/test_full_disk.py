"""``pull`` and ``clone`` onto a disk that is full."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mlipstore.errors import StoreError
from mlipstore.sharing.remote import clone, pull
from mlipstore.store import Repository
from mlipstore.verify import verify

from ..robustness.content import content, differences
from ..robustness.small_disk import fill, mounted
from ..small_store import add, configurations, plugins

#: Bytes that are left on the disk, one after another: at each another part of the copy does not fit.
LEFT = (0, 4_096, 40_000, 120_000, 250_000)


@pytest.mark.parametrize("rebase", [False, True], ids=["ahead", "diverged"])
def test_pull(rebase: bool, fresh: Callable[..., Repository], tmp_path: Path) -> None:
    """One error that says what to do, what was there is whole, and with space again the same command finishes."""
    source = fresh()
    (tmp_path / "data").mkdir()
    with mounted(tmp_path / "m", "size=32m"):
        place = tmp_path / "m" / "b.mlip"
        clone(source.path, place)
        with plugins():
            add(source, tmp_path / "data", configurations(40, 5))
            if rebase:
                (tmp_path / "mine").mkdir()
                add(Repository.open(place), tmp_path / "mine", configurations(10, 8))
        before, tip = content(place), Repository.open(place).find()
        failed = 0
        for left in LEFT:
            fill(tmp_path / "m" / "ballast", left)
            try:
                pull(place, rebase=rebase)
            except StoreError as error:
                failed += 1
                assert "no space left on the device" in str(error) and "run the same command again" in str(error)
            else:
                break
            finally:
                (tmp_path / "m" / "ballast").unlink()
            assert Repository.open(place).find() == tip and differences(content(place), before) == []
        assert failed >= 3
        pull(place, rebase=rebase)
        assert verify(place).sound
        if rebase:
            assert len(Repository.open(place).log()) > len(source.log())
        else:
            assert differences(content(place), content(str(source.path))) == []


def test_clone(featurized: Path, tmp_path: Path) -> None:
    """It continues with what has arrived."""
    with mounted(tmp_path / "m", "size=32m"):
        place = tmp_path / "m" / "b.mlip"
        for left in LEFT:
            fill(tmp_path / "m" / "ballast", left)
            with pytest.raises(StoreError, match=r"no space left on the device.*run the same command again"):
                clone(featurized, place)
            (tmp_path / "m" / "ballast").unlink()
            assert not Repository.exists(place)
        clone(featurized, place)
        assert differences(content(place), content(featurized)) == []
