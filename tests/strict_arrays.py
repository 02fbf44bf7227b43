"""An array library that is NumPy inside and as strict as CuPy outside, for tests without a GPU.

Arrays of it and NumPy's do not mix, in arithmetic, in indexing and in functions: what CuPy would refuse (or would copy
over the bus) is an error here. There are only the functions and methods that are listed, all of which CuPy has.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import scipy.linalg

_FUNCTIONS = [
    "abs", "ascontiguousarray", "concatenate", "conj", "copysign", "cos", "count_nonzero", "einsum", "empty",
    "flatnonzero", "matmul", "maximum", "moveaxis", "multiply", "ones", "signbit", "sin", "sqrt", "square",
    "where", "zeros",
]  # fmt: skip
_OPERATORS = [
    "add", "sub", "mul", "truediv", "neg", "matmul", "lt", "le", "gt", "ge", "eq", "ne", "iadd", "isub", "imul",
    "itruediv",
]  # fmt: skip


class Array:
    """An array on the device."""

    __array_ufunc__ = None  # NumPy leaves operators to us
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, values: Any) -> None:
        self.values = values

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("implicit conversion of a device array to NumPy")

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Array]:
        return (Array(v) for v in self.values)

    def __getitem__(self, key: Any) -> Array:
        return Array(self.values[_index(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.values[_index(key)] = inside(value)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(self.values.size)

    @property
    def nbytes(self) -> int:
        return int(self.values.nbytes)

    @property
    def dtype(self) -> Any:
        return self.values.dtype

    @property
    def real(self) -> Array:
        return Array(self.values.real)

    @property
    def imag(self) -> Array:
        return Array(self.values.imag)

    @property
    def T(self) -> Array:
        return Array(self.values.T)

    def reshape(self, *shape: int) -> Array:
        return Array(self.values.reshape(*shape))

    def view(self, dtype: Any) -> Array:
        return Array(self.values.view(dtype))

    def sum(self, axis: int | None = None) -> Array:
        return Array(self.values.sum(axis=axis))

    def copy(self) -> Array:
        return Array(self.values.copy())

    def __float__(self) -> float:
        return float(self.values)

    def __int__(self) -> int:
        return int(self.values)

    def get(self) -> Any:
        return self.values.copy()


def inside(value: Any) -> Any:
    """What an array holds, or a number as it is."""
    if isinstance(value, Array):
        return value.values
    if isinstance(value, (list, tuple)):
        return type(value)(inside(v) for v in value)
    if isinstance(value, np.ndarray):
        raise TypeError("a NumPy array among device arrays")
    return value


def _index(key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(_index(k) for k in key)
    if isinstance(key, list):
        raise TypeError("a list as index")
    return inside(key)


def _operator(name: str) -> Callable[..., Any]:
    function = getattr(operator, name)

    def call(self: Array, *others: Any) -> Any:
        return Array(function(self.values, *map(inside, others)))

    return call


def _reflected(name: str) -> Callable[..., Any]:
    function = getattr(operator, name)
    return lambda self, other: Array(function(inside(other), self.values))


for _name in _OPERATORS:
    setattr(Array, f"__{_name}__", _operator(_name))
for _name in ("add", "sub", "mul", "truediv"):
    setattr(Array, f"__r{_name}__", _reflected(_name))


def _function(name: str) -> Callable[..., Array]:
    def call(*arguments: Any, **options: Any) -> Array:
        return Array(getattr(np, name)(*map(inside, arguments), **{k: inside(v) for k, v in options.items()}))

    return call


def solve_triangular(a: Array, b: Array, **options: Any) -> Array:
    return Array(scipy.linalg.solve_triangular(a.values, b.values, **options))


xp = ModuleType("strict_arrays")
for _name in _FUNCTIONS:
    setattr(xp, _name, _function(_name))
xp.__dict__.update(
    asarray=lambda values: Array(np.array(values)),
    linalg=SimpleNamespace(
        qr=lambda a, mode: Array(np.linalg.qr(a.values, mode=mode)),
        cholesky=lambda a: Array(np.linalg.cholesky(a.values)),
    ),
    float64=np.float64,
    complex128=np.complex128,
)
