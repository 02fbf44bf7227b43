"""Leases and claims are gone when the work is."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from mlipstore import leases
from mlipstore.leases import CLAIMS, LEASES, at_work, claim
from mlipstore.places import objects_at
from mlipstore.places.lock import renewed


@pytest.mark.parametrize("kind", ["lease", "claim"])
def test_a_renewal_that_is_under_way_does_not_outlive_the_work(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a slow server it would be written after its removal."""
    objects, main = objects_at(tmp_path), threading.current_thread()
    begun, go_on, written = threading.Event(), threading.Event(), threading.Event()
    real = objects.put

    def put(key: str, data: bytes) -> None:
        if threading.current_thread() is not main:
            begun.set()
            go_on.wait(600.0)
            real(key, data)
            written.set()
        else:
            real(key, data)

    monkeypatch.setattr(type(objects), "put", lambda _, key, data: put(key, data))
    monkeypatch.setattr(leases, "renewed", lambda renew: renewed(renew, 0.0))
    with at_work(objects) if kind == "lease" else claim(objects, "a"):
        assert begun.wait(600.0)
        threading.Timer(0.2, go_on.set).start()
    assert written.wait(600.0)
    assert not [*objects.listing(LEASES), *objects.listing(CLAIMS)]
