"""The exchange of stores between versions of Icechunk, with one version: that the check itself works."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compatibility import exchange


def test_make_extend_verify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = str(tmp_path / "s.mlip")
    for what in ("make", "extend", "verify"):
        monkeypatch.setattr("sys.argv", ["exchange", what, store])
        exchange.main()
    assert "16 configurations, 2 models" in capsys.readouterr().out
