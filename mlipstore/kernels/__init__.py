"""Compiled descriptor kernels: one extension module per kernel and instruction set, the widest one this processor has.

``MLIPSTORE_ISA`` (``baseline``, ``avx2``, ``avx512``) asks for a narrower one, for tests and comparisons.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from functools import cache
from types import ModuleType

from ..errors import MissingDependencyError, SettingsError, listed

ISA_VARIABLE = "MLIPSTORE_ISA"
_BUILD = (
    "Install the package (pip install .), or inside the repository: cmake -S . -B build/dev && "
    "cmake --build build/dev && cmake --install build/dev --prefix ."
)


@cache
def isas() -> tuple[str, ...]:
    """Instruction sets that this processor and this build both have, narrowest first."""
    supported: list[str] = _module("snap", "baseline").supported()
    return tuple(isa for isa in supported if importlib.util.find_spec(f"{__name__}._snap_{isa}") is not None)


def isa() -> str:
    """The instruction set in use: the widest one, unless ``MLIPSTORE_ISA`` asks for another."""
    asked = os.environ.get(ISA_VARIABLE, "")
    if not asked:
        return isas()[-1]
    if asked not in isas():
        raise SettingsError(f"{ISA_VARIABLE}={asked!r} is not available here. Available: {listed(isas())}.")
    return asked


def load(kernel: str, isa_name: str | None = None) -> ModuleType:
    """The extension module of a kernel (``snap``) for an instruction set (default: :func:`isa`)."""
    return _module(kernel, isa() if isa_name is None else isa_name)


@cache
def _module(kernel: str, isa_name: str) -> ModuleType:
    try:
        return importlib.import_module(f"{__name__}._{kernel}_{isa_name}")
    except ImportError as error:
        raise MissingDependencyError(
            f"the compiled kernel {kernel!r} ({isa_name}) cannot be loaded: {error}. {_BUILD}"
        ) from error
