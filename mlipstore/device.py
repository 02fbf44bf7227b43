"""Where rows and the factor of a fit are computed: on the processor, or on a CUDA device through CuPy.

A device makes rows of the descriptors that can (``rows_on``), takes other rows from the host, and gives the arithmetic
for them (:mod:`mlipstore.solve.kernels`); the algorithm, its guard and its fallback are the same lines. Nothing falls
back silently: a device that is not there is an error, and a result says what was computed where.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from .cards import offer, take
from .computing import Descriptor, Rows
from .configuration import Batch
from .errors import ComputeError, MissingDependencyError, SettingsError, nearest
from .solve.factor import Factor
from .solve.kernels import ArrayKernels, BlasKernels, Kernels, to_host

_BUFFERS = 4
#: Part of the memory of a device that intermediate results of rows may take, and the most that is of use; the same for
#: the rows that are made at once. Nothing that changes from run to run: bits depend on what is computed together.
_WORK_SHARE, _WORK_BYTES = 1 / 16, 8 << 30
_PART_SHARE, _PART_BYTES = 1 / 64, 512 << 20


class Device(Protocol):
    """What a fit asks of a device."""

    @property
    def label(self) -> str:
        """What it is, for people."""
        ...

    @property
    def count(self) -> int | None:
        """How many of its kind this process sees, for one worker each; None: there may be any number of workers."""
        ...

    @property
    def xp(self) -> ModuleType:
        """The library of its arrays."""
        ...

    @property
    def part_bytes(self) -> int:
        """Rows that are best made at once, in bytes; 0 for what the host does."""
        ...

    def row_maker(self, descriptor: Descriptor) -> Callable[[Batch], Rows] | None:
        """What makes rows of a descriptor there, as arrays of the device; None if only the host can."""
        ...

    def kernels(self) -> Kernels:
        """The arithmetic of a new factor there."""
        ...

    def send(self, rows: Any) -> Any:
        """Rows ``(n, M)``, targets or weights of the host as an array there. What was sent before may be in use.

        What is there already stays as it is.
        """
        ...


class Cpu:
    """BLAS on the host."""

    label = "cpu"
    count = None
    xp = np
    part_bytes = 0

    def row_maker(self, descriptor: Descriptor) -> Callable[[Batch], Rows] | None:
        return descriptor.rows

    def kernels(self) -> Kernels:
        return BlasKernels()

    def send(self, rows: Any) -> Any:
        return rows


class Cuda:
    """The current CUDA device; of several, a worker uses the one of its number (:mod:`mlipstore.cards`).

    Rows go through a few page-locked buffers in turn: while some are on their way, the next are read and copied into
    another. Everything is in the order of one stream, so nothing is used before it has arrived.

    :raises MissingDependencyError: there is no CuPy
    :raises ComputeError: there is no device, or it cannot be used
    """

    def __init__(self) -> None:
        take()
        try:
            import cupy
            import cupyx
        except ImportError as error:
            raise MissingDependencyError(
                f"the device cuda needs CuPy ({error}). Install the one for your CUDA (pip install cupy-cuda12x), or "
                "use --device cpu."
            ) from None
        try:
            self.count: int = cupy.cuda.runtime.getDeviceCount()
            if not self.count:
                raise RuntimeError("no device")
            name = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"]
            whole = cupy.cuda.runtime.memGetInfo()[1]
        except Exception as error:  # whatever the driver says
            raise ComputeError(
                f"there is no CUDA device that can be used ({error}). Use --device cpu, or look at nvidia-smi and "
                "CUDA_VISIBLE_DEVICES."
            ) from None
        self.label = name.decode() if isinstance(name, bytes) else str(name)
        self.xp: ModuleType = cupy
        self._xpx = cupyx
        offer(self.count)
        self._work_bytes = min(int(_WORK_SHARE * whole), _WORK_BYTES)
        self.part_bytes = min(int(_PART_SHARE * whole), _PART_BYTES)
        self._buffers: list[Any] = [None] * _BUFFERS
        self._sent: list[Any] = [None] * _BUFFERS
        self._turn = 0

    def row_maker(self, descriptor: Descriptor) -> Callable[[Batch], Rows] | None:
        make = row_maker(descriptor, self.xp, self._work_bytes)
        return None if make is None else partial(self._made, make)

    def _made(self, make: Callable[[Batch], Rows], batch: Batch) -> Rows:
        try:
            return make(batch)
        except self.xp.cuda.memory.OutOfMemoryError as error:
            raise ComputeError(
                f"{self.label} has no memory left for the rows of {len(batch.number):,} atoms ({error}). Use fewer "
                "workers (-j 1), or --device cpu."
            ) from None

    def kernels(self) -> Kernels:
        return ArrayKernels(self.xp)

    def send(self, rows: Any) -> Any:
        if not isinstance(rows, np.ndarray):
            return rows
        self._turn = i = (self._turn + 1) % _BUFFERS
        if self._sent[i] is not None:
            self._sent[i].synchronize()  # the copy out of this buffer, some arrays ago
        if self._buffers[i] is None or self._buffers[i].size < rows.size:
            self._buffers[i] = self._xpx.empty_pinned(rows.size, dtype=np.float64)
        staged = self._buffers[i][: rows.size].reshape(rows.shape)
        np.copyto(staged, rows)
        there = self.xp.empty(rows.shape)
        stream = self.xp.cuda.get_current_stream()
        there.set(staged, stream)
        self._sent[i] = self.xp.cuda.Event()
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


def row_maker(descriptor: Descriptor, xp: ModuleType, memory: int) -> Callable[[Batch], Rows] | None:
    """What makes rows of a descriptor with the arrays of ``xp``: its ``rows_on(xp, memory)``, if it has that."""
    offered: Callable[[ModuleType, int], Callable[[Batch], Rows] | None] | None = getattr(descriptor, "rows_on", None)
    return None if offered is None else offered(xp, memory)


def rows_at(device: Device, descriptor: Descriptor, batch: Batch) -> Rows:
    """Rows of a batch: arrays of the device if it makes them, else of the host."""
    return (device.row_maker(descriptor) or descriptor.rows)(batch)


def on_host(rows: Rows) -> Rows:
    """The same rows as NumPy arrays."""
    return Rows(to_host(rows.energy), to_host(rows.force), to_host(rows.stress))


def picked(xp: ModuleType, rows: Any, which: Any) -> Any:
    """Rows of an array of the host or of ``xp`` by their numbers (of the host)."""
    return rows[which] if isinstance(rows, np.ndarray) else rows[xp.asarray(which)]


def join_on(name: str, left: Factor | None, right: Factor | None) -> Factor | None:
    """The factor of the rows of both, merged on a device; they are given up."""
    if left is None or right is None:
        return right if left is None else left
    left.move(open_device(name).kernels())
    left.merge(right)
    return left
