"""Values of plugin settings in one canonical form; what cannot be meant is refused with the name of the setting."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ..errors import SettingsError, nearest

T = TypeVar("T")


def number(name: str, value: Any) -> float:
    """A finite real number."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise SettingsError(f"{name} must be a number, not {value!r}.")
    return float(value)


def whole(name: str, value: Any) -> int:
    """A whole number; 6.0 counts as one."""
    if number(name, value) != int(value):
        raise SettingsError(f"{name} must be a whole number, not {value!r}.")
    return int(value)


def flag(name: str, value: Any) -> bool:
    """True or false; 1 and 0 count as such."""
    if isinstance(value, numbers.Integral) and value in (0, 1):
        return bool(value)
    raise SettingsError(f"{name} must be true or false, not {value!r}.")


def per_element(name: str, value: Any, n: int, one: Callable[[str, Any], T]) -> tuple[T, ...]:
    """``n`` values: a single one is meant for all elements."""
    values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if len(values) == 1:
        values *= n
    if len(values) != n:
        raise SettingsError(f"{name} has {len(values)} values; expected 1 or {n}, one per element.")
    return tuple(one(name, v) for v in values)


def element_symbols(value: Any) -> tuple[str, ...]:
    """Chemical symbols, each once; a single symbol is a list of one."""
    from ase.data import chemical_symbols

    symbols = (value,) if isinstance(value, str) else tuple(value)
    known = chemical_symbols[1:]
    for symbol in symbols:
        if symbol not in known:
            raise SettingsError(f"elements: {symbol!r} is not a chemical symbol. {nearest(str(symbol), known)}")
    if not symbols or len(set(symbols)) < len(symbols):
        raise SettingsError(f"elements must name each element once, at least one: {list(symbols)}.")
    return symbols


def lines(name: str, value: Any) -> tuple[str, ...]:
    """Lines of text; a single one is a list of one."""
    values = (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(v, str) and "\n" not in v for v in values):
        raise SettingsError(f"{name} must be a list of single lines of text.")
    return tuple(" ".join(v.split()) for v in values)
