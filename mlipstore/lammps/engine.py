"""LAMMPS as a calculator inside this process: one instance, set up once, fed one configuration after another.

The box, the pair style and the neighbour settings stay; atoms and computes change. Against a new instance for each
configuration this saves 4.5 ms of 4.7 ms of overhead, against ``clear`` 0.35 ms of 0.5 ms, and gives the same bits.
Nothing of LAMMPS is imported before the first configuration.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import re
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..computing import Reference, type_index
from ..configuration import F8, Batch
from ..errors import ComputeError, MissingDependencyError, SettingsError
from ..units import LAMMPS_BAR_PER_EV_A3
from .frame import Frame, frame_of

#: Above this many atoms LAMMPS bins them to find neighbours; below, trying all pairs is as fast.
_BIN_ATOMS = 500
_INSTALL = 'Install it with: pip install "mlipstore[lammps]" (or: pip install lammps mpich).'
#: Without it, spin pair styles give energies and torques but leave their part out of forces and virial.
SPIN_FORCES = "fix spin_forces all nve/spin lattice moving"

_lock = threading.RLock()
_instance: Session | None = None


class LammpsError(Exception):
    """What LAMMPS said when it refused a command; callers turn it into an error that names the place.

    :param line: the command it stopped at, inside an included file for example
    """

    def __init__(self, text: str, line: str = "") -> None:
        self.text, self.line = text, line
        super().__init__(text)


@dataclass(frozen=True)
class Setup:
    """What stays the same for many configurations.

    :param elements: element of type 1, 2, ...
    :param potential: commands that define the pair style, each one line; all that needs no atoms may follow
    :param atom_style: ``atomic``, ``spin`` or ``charge``
    :param skin: neighbour skin in Å; 0 is right where atoms never move
    """

    elements: tuple[str, ...]
    potential: tuple[str, ...]
    atom_style: str = "atomic"
    skin: float = 1e-20


class Session:
    """One LAMMPS instance that belongs to this process."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._lmp = _open()
        library = self._lmp.lib
        # The wheel declares one argument too many for this function, so its types are stated here.
        pointer = ctypes.c_void_p
        library.lammps_create_atoms.argtypes = [pointer, ctypes.c_int, *[pointer] * 5, ctypes.c_int]
        library.lammps_create_atoms.restype = ctypes.c_int
        self.version = int(self._lmp.version())
        self._state: tuple[Setup, str, str] | None = None
        self._computes: list[str] = []
        self._has_atoms = False

    def command(self, line: str) -> None:
        """Run one command; :class:`LammpsError` with the text of LAMMPS when it fails."""
        try:
            self._lmp.command(line)
        except Exception as error:  # the library raises nothing narrower
            raise _refusal(str(error)) from None

    def compute(self, name: str, line: str, also: Sequence[str] = ()) -> None:
        """Define a compute until the next configuration; ``also`` names the ones it makes for itself."""
        self._computes += [name, *also]
        self.command(f"compute {name} {line}")

    def prepare(self, setup: Setup, boundary: str, neighbors: str) -> None:
        """Bring the instance into the state of ``setup``, at no cost when it is there already."""
        if self._state != (setup, boundary, neighbors):
            self._state = None
            self._computes, self._has_atoms = [], False
            for line in (
                "clear",
                "units metal",
                f"atom_style {setup.atom_style}",
                "atom_modify map array sort 0 0.0",
                "box tilt large",
                f"boundary {boundary}",
                "region box prism 0 1 0 1 0 1 0 0 0",
                f"create_box {len(setup.elements)} box",
            ):
                self.command(line)
            for line in setup.potential:
                try:
                    self.command(line)
                except LammpsError as error:
                    at = f" (at {error.line!r})" if error.line not in ("", line) else ""
                    said = error.text.removeprefix("LAMMPS says: ")
                    raise SettingsError(f"LAMMPS refuses {line!r}{at}: {said}") from None
            for line in (
                "mass * 1.0",
                f"neighbor {setup.skin!r} {neighbors}",
                "neigh_modify one 20000 page 200000",
                "thermo_modify norm no",
            ):
                self.command(line)
            self._state = (setup, boundary, neighbors)
        for name in self._computes:
            self.command(f"uncompute {name}")
        self._computes = []
        if self._has_atoms:
            self.command("delete_atoms group all")
            self._has_atoms = False

    def place(self, frame: Frame, types: NDArray[np.int32], spin: F8 | None, charge: F8 | None) -> None:
        """Set the box and create the atoms with ids 1..n in their order.

        :param types: ``(n,)`` counted from 1
        :param spin: ``(n, 3)`` in Bohr magnetons; ``charge``: ``(n,)`` in e
        """
        xy, xz, yz = frame.tilt
        try:
            self._lmp.reset_box(frame.low.tolist(), frame.high.tolist(), xy, yz, xz)
        except Exception as error:
            raise _refusal(str(error)) from None
        self._has_atoms = True
        n = len(types)
        library, handle = self._lmp.lib, self._lmp.lmp
        made = library.lammps_create_atoms(
            handle, n, None, types.ctypes.data, frame.position.ctypes.data, None, None, 0
        )
        if library.lammps_has_error(handle):
            text = ctypes.create_string_buffer(2000)
            library.lammps_get_last_error_message(handle, text, len(text))
            raise _refusal(text.value.decode(errors="replace"))
        if made != n:
            raise LammpsError(f"only {made} of {n} atoms lie inside the box")
        if charge is not None:
            self._per_atom("q", n, 1)[:, 0] = charge
        if spin is not None:
            size = np.linalg.norm(spin, axis=1)
            unit = np.divide(spin, size[:, None], out=np.zeros((n, 3)), where=size[:, None] > 0)
            self._per_atom("sp", n, 4)[:] = np.column_stack([unit, size])

    def run(self, n: int) -> None:
        """Evaluate energy, forces and virial; the atoms must come out in the order they went in."""
        self.command("run 0 post no")
        ids = self._lmp.extract_atom("id")
        if not np.array_equal(np.ctypeslib.as_array(ids, (n,)), np.arange(1, n + 1)):
            raise LammpsError("the atoms were reordered or lost")

    def energy(self) -> float:
        """Potential energy in eV, after :meth:`run`."""
        return float(self._scalar("thermo_pe"))

    def forces(self, n: int) -> F8:
        """A copy of the forces ``(n, 3)`` in eV/Å, in the frame of LAMMPS, after :meth:`run`."""
        return self._per_atom("f", n, 3).copy()

    def pressure(self) -> F8:
        """Pressure ``(6,)`` in bar, compression positive, in Voigt order, in the frame of LAMMPS."""
        self._scalar("thermo_press")
        values = self._extract("thermo_press", 0, 1)
        xx, yy, zz, xy, xz, yz = (float(values[i]) for i in range(6))
        return np.array([xx, yy, zz, yz, xz, xy])

    def array(self, name: str, n_rows: int, n_columns: int) -> F8:
        """A view of the global array of a compute; copy it before the next configuration."""
        found = (self._extract(name, 0, 4), self._extract(name, 0, 5))
        if found != (n_rows, n_columns):
            raise LammpsError(f"compute {name} has {found} rows and columns; expected {(n_rows, n_columns)}")
        return np.ctypeslib.as_array(self._extract(name, 0, 2)[0], (n_rows, n_columns))

    def close(self) -> None:
        """Free the instance."""
        self._lmp.close()

    def _extract(self, name: str, style: int, kind: int) -> Any:
        try:
            value = self._lmp.extract_compute(name, style, kind)
        except Exception as error:
            raise _refusal(str(error)) from None
        if value is None:
            raise LammpsError(f"compute {name} gives nothing")
        return value

    def _scalar(self, name: str) -> float:
        return float(self._extract(name, 0, 0))

    def _per_atom(self, name: str, n: int, width: int) -> F8:
        """A view of a property of all atoms ``(n, width)``."""
        # Through the C function: extract_atom of the Python module does not know all names (sp).
        extract = self._lmp.lib.lammps_extract_atom
        number = ctypes.POINTER(ctypes.c_double)
        extract.restype = number if width == 1 else ctypes.POINTER(number)
        pointer = extract(self._lmp.lmp, name.encode())
        if not pointer:
            raise LammpsError(f"this LAMMPS has no {name!r} per atom")
        return np.ctypeslib.as_array(pointer if width == 1 else pointer[0], (n, width))


def for_each(batch: Batch, setup: Setup, collect: Callable[[Session, Frame, int], None]) -> None:
    """Call ``collect(session, frame, i)`` with each configuration of a batch loaded into LAMMPS.

    Configurations without atoms are left out. The result for one configuration does not depend on the others.

    :raises ComputeError: naming the configuration, with the text of LAMMPS
    :raises SettingsError: LAMMPS refuses a line of ``setup.potential``
    """
    types = type_index(batch.number, setup.elements) + np.int32(1)
    with _lock:
        for i in range(len(batch)):
            a, b = int(batch.atom_start[i]), int(batch.atom_start[i + 1])
            if a == b:
                continue
            try:
                _one(batch, setup, collect, i, types[a:b])
            except LammpsError as error:
                discard()
                raise ComputeError(f"{batch.place(i)}: {error}") from None
            except BaseException:
                discard()
                raise


def evaluate(batch: Batch, setup: Setup) -> Reference:
    """Energy, force and stress of each configuration; the stress is 0 unless it is periodic in all directions."""
    out = Reference(np.zeros(len(batch)), np.zeros((len(batch.number), 3)), np.zeros((len(batch), 6)))

    def collect(session: Session, frame: Frame, i: int) -> None:
        a, b = int(batch.atom_start[i]), int(batch.atom_start[i + 1])
        session.run(b - a)
        out.energy[i] = session.energy()
        out.force[a:b] = frame.vectors_back(session.forces(b - a))
        if batch.pbc[i].all():
            out.stress[i] = frame.tensors_back(session.pressure()) / -LAMMPS_BAR_PER_EV_A3
        if not (np.isfinite(out.energy[i]) and np.isfinite(out.force[a:b]).all()):
            raise LammpsError("the energy or a force is not finite; are two atoms at the same place?")

    for_each(batch, setup, collect)
    return out


def _one(
    batch: Batch,
    setup: Setup,
    collect: Callable[[Session, Frame, int], None],
    i: int,
    types: NDArray[np.int32],
) -> None:
    if (types == 0).any():
        from ase.data import chemical_symbols

        atom = int(np.argmin(types))
        symbol = chemical_symbols[int(batch.number[batch.atom_start[i] + atom])]
        raise unlisted_element(batch.place(i), atom, symbol, setup.elements)
    atoms = slice(int(batch.atom_start[i]), int(batch.atom_start[i + 1]))
    try:
        frame = frame_of(batch.cell[i], batch.pbc[i], batch.position[atoms])
    except ValueError as error:
        raise LammpsError(str(error)) from None
    spin = charge = None
    if setup.atom_style == "spin":
        spin = None if batch.spin is None else batch.spin[atoms]
        if spin is None or np.isnan(spin).any():
            raise LammpsError("the atom style 'spin' needs magnetic moments, and this configuration has none")
        if frame.rotation is not None:
            spin = spin @ frame.rotation.T
    if setup.atom_style == "charge":
        charge = None if batch.charge is None else batch.charge[atoms]
        if charge is None or np.isnan(charge).any():
            raise LammpsError("the atom style 'charge' needs charges, and this configuration has none")
    active = session()
    active.prepare(setup, frame.boundary, "bin" if len(types) > _BIN_ATOMS else "nsq")
    active.place(frame, np.ascontiguousarray(types, np.int32), spin, charge)
    collect(active, frame, i)


def unlisted_element(place: str, atom: int, symbol: str, elements: Sequence[str]) -> ComputeError:
    """The error for an atom of an element that a reference potential does not know."""
    return ComputeError(
        f"{place}: atom {atom} is {symbol}, which the settings do not list (elements: {' '.join(elements)}). Add it, "
        "or leave this configuration out."
    )


def session() -> Session:
    """The instance of this process, made when there is none."""
    global _instance
    if _instance is None or _instance.process != os.getpid():
        _instance = Session()
    return _instance


def discard() -> None:
    """Throw the instance away: after an error its state is not trusted."""
    global _instance
    old, _instance = _instance, None
    if old is not None and old.process == os.getpid():
        old.close()


def version() -> str:
    """Such as ``LAMMPS 20250722``."""
    with _lock:
        return f"LAMMPS {session().version}"


def load_mpi() -> None:
    """Load the MPI library that the LAMMPS wheel needs, from the ``mpich`` wheel if there is one.

    The wheel does not find it by itself. Nothing is loaded when another MPI is in this process already.
    """
    try:
        files = importlib.metadata.files("mpich") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    places = [Path(str(f.locate())) for f in files if f.name.startswith(("libmpi.so.", "libmpi.12", "libmpi.dylib"))]
    places += [Path(sys.prefix, "lib", name) for name in ("libmpi.so.12", "libmpi.12.dylib")]
    for place in places:
        if place.exists():
            ctypes.CDLL(os.path.realpath(place), ctypes.RTLD_GLOBAL)
            return


def _open() -> Any:
    """A LAMMPS instance on this process alone, silent."""
    if "mpi4py.MPI" not in sys.modules:
        load_mpi()
    try:
        import lammps
    except ImportError:
        raise MissingDependencyError(f"LAMMPS is not installed. {_INSTALL}") from None
    arguments = ["-screen", "none", "-log", "none", "-nocite"]
    communicator = None
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is not None and mpi.Is_initialized() and mpi.COMM_WORLD.size > 1:
        communicator = mpi.COMM_SELF  # each rank computes configurations of its own
    try:
        instance = lammps.lammps(cmdargs=arguments, comm=communicator)
    except OSError as error:
        raise MissingDependencyError(f"LAMMPS cannot be loaded: {error}. {_INSTALL}") from None
    except RuntimeError as error:
        raise MissingDependencyError(
            f"LAMMPS cannot be started: {error}. LAMMPS and mpi4py must use the same MPI library: "
            "pip install lammps mpich mpi4py, in one environment."
        ) from None
    if instance.extract_setting("world_size") > 1:
        raise SettingsError(
            "LAMMPS would spread each configuration over all MPI ranks. Start under mpiexec only with the executor "
            "'mpi', which gives each rank configurations of its own."
        )
    return instance


def _refusal(text: str) -> LammpsError:
    """The error for a message of LAMMPS, without its source position and the explanations below."""
    first = next((line for line in text.splitlines() if line.strip()), "nothing")
    first = re.sub(r"\s*\((?:src/)?[\w/.-]+\.(?:cpp|h):\d+\)", "", first)
    first = re.sub(r"^ERROR(?: on proc \d+)?: ", "", first)
    at = re.search(r"^Last input line: (.*)$", text, re.MULTILINE)
    said = "LAMMPS says: " + re.sub(r"\s*(?:Status)?:?\s*$", "", first)
    return LammpsError(said, at[1].strip() if at else "")
