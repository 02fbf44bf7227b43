"""Where the factor of a fit is computed: on the processor, or on a CUDA device through CuPy.

A device takes rows from the host and gives the arithmetic for them (:mod:`mlipstore.solve.kernels`); the algorithm, its
guard and its fallback are the same lines. Nothing falls back silently: a device that is not there is an error, and a
result says which one computed it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import numpy as np

from .configuration import F8
from .errors import ComputeError, MissingDependencyError, SettingsError, nearest
from .solve.factor import Factor
from .solve.kernels import ArrayKernels, BlasKernels, Kernels

_BUFFERS = 4


class Device(Protocol):
    """What a fit asks of a device."""

    @property
    def label(self) -> str:
        """What it is, for people."""
        ...

    def kernels(self) -> Kernels:
        """The arithmetic of a new factor there."""
        ...

    def send(self, rows: F8) -> Any:
        """Rows ``(n, M)``, targets or weights of the host as an array there. What was sent before may be in use."""
        ...


class Cpu:
    """BLAS on the host."""

    label = "cpu"

    def kernels(self) -> Kernels:
        return BlasKernels()

    def send(self, rows: F8) -> Any:
        return rows


class Cuda:
    """The current CUDA device.

    Rows go through a few page-locked buffers in turn: while some are on their way, the next are read and copied into
    another. Everything is in the order of one stream, so nothing is used before it has arrived.

    :raises MissingDependencyError: there is no CuPy
    :raises ComputeError: there is no device, or it cannot be used
    """

    def __init__(self) -> None:
        try:
            import cupy
            import cupyx
        except ImportError as error:
            raise MissingDependencyError(
                f"the device cuda needs CuPy ({error}). Install the one for your CUDA (pip install cupy-cuda12x), or "
                "use --device cpu."
            ) from None
        try:
            count = cupy.cuda.runtime.getDeviceCount()
            if not count:
                raise RuntimeError("no device")
            name = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"]
        except Exception as error:  # whatever the driver says
            raise ComputeError(
                f"there is no CUDA device that can be used ({error}). Use --device cpu, or look at nvidia-smi and "
                "CUDA_VISIBLE_DEVICES."
            ) from None
        self.label = name.decode() if isinstance(name, bytes) else str(name)
        self._xp, self._xpx = cupy, cupyx
        self._buffers: list[Any] = [None] * _BUFFERS
        self._sent: list[Any] = [None] * _BUFFERS
        self._turn = 0

    def kernels(self) -> Kernels:
        return ArrayKernels(self._xp)

    def send(self, rows: F8) -> Any:
        self._turn = i = (self._turn + 1) % _BUFFERS
        if self._sent[i] is not None:
            self._sent[i].synchronize()  # the copy out of this buffer, some arrays ago
        if self._buffers[i] is None or self._buffers[i].size < rows.size:
            self._buffers[i] = self._xpx.empty_pinned(rows.size, dtype=np.float64)
        staged = self._buffers[i][: rows.size].reshape(rows.shape)
        np.copyto(staged, rows)
        there = self._xp.empty(rows.shape)
        stream = self._xp.cuda.get_current_stream()
        there.set(staged, stream)
        self._sent[i] = self._xp.cuda.Event()
        self._sent[i].record(stream)
        return there


#: Devices by name; each process opens one once.
DEVICES: dict[str, Callable[[], Device]] = {"cpu": Cpu, "cuda": Cuda}


@cache
def open_device(name: str) -> Device:
    """The device of that name.

    :raises SettingsError: there is no such name
    """
    if name not in DEVICES:
        raise SettingsError(
            f"there is no device {name!r}. {nearest(name, list(DEVICES))}Devices: {', '.join(DEVICES)}."
        )
    return DEVICES[name]()


def join_on(name: str, left: Factor | None, right: Factor | None) -> Factor | None:
    """The factor of the rows of both, merged on a device; they are given up."""
    if left is None or right is None:
        return right if left is None else left
    left.move(open_device(name).kernels())
    left.merge(right)
    return left
