"""Compressed files (``.gz``, ``.bz2``, ``.xz``) are read as the file inside, unpacked for as long as it is read."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .configuration import Configuration
from .errors import InputError
from .reading import COMPRESSED, Reader, ReadReport, plain_name

_OPEN: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def is_compressed(path: str | os.PathLike[str]) -> bool:
    """Whether the name says so."""
    return os.fspath(path).lower().endswith(COMPRESSED)


def head_of(path: Path, n: int) -> bytes:
    """The first ``n`` bytes of the file inside.

    :raises InputError: it is not what its name says
    """
    with _stream(path) as file, _told(path):
        return file.read(n)


def read_file(reader: Reader, path: Path, report: ReadReport, root: Path | None = None) -> Iterator[Configuration]:
    """``reader.read``, or :func:`read_compressed` of a file that is compressed."""
    return read_compressed(reader, path, report, root) if is_compressed(path) else reader.read(path, report, root)


def read_compressed(
    reader: Reader, path: Path, report: ReadReport, root: Path | None = None
) -> Iterator[Configuration]:
    """As ``reader.read``, of the file inside; errors and groups name the compressed file.

    :raises InputError: it is damaged, or the file inside is
    """
    with tempfile.TemporaryDirectory(prefix="mlipstore-") as folder:
        # below a folder of the same name, so that groups taken from folders are the same
        within = root is not None and root.is_dir()
        top = Path(os.path.abspath(root if root is not None and within else path.parent))
        copied = Path(folder, top.name or "all")
        place = copied / os.path.relpath(os.path.abspath(path), top)
        place = place.with_name(plain_name(place.name))
        place.parent.mkdir(parents=True, exist_ok=True)
        with _stream(path) as packed, _told(path), open(place, "wb") as out:
            shutil.copyfileobj(packed, out, 1 << 20)
        noted = ReadReport(skip_bad=report.skip_bad)
        try:
            for configuration in reader.read(place, noted, copied if within else None):
                configuration.source = str(path)
                yield configuration
        except InputError as error:
            raise InputError(error.message, str(path), error.frame, error.line) from None
        finally:
            report.add(noted.of_file(str(place), str(path)))


@contextmanager
def _stream(path: Path) -> Iterator[IO[bytes]]:
    try:
        file = _OPEN[path.suffix.lower()](path, "rb")
    except FileNotFoundError:
        raise InputError("there is no such file or folder.", str(path)) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}.", str(path)) from None
    with file:
        yield file


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        what = f"is not a sound {path.suffix[1:]} file (truncated or damaged?): {error}."
        raise InputError(what, str(path)) from None
