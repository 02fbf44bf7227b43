"""Units: eV, Å, eV/Å and eV/Å^3 (stress positive in tension) inside; conversions at the door only.

Constants are CODATA 2018 (exact where the SI defines them). FitSNAP files use the constants of
LAMMPS ``metal`` units and FitSNAP's own unit table, so that a moved project keeps its numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

from .errors import SettingsError, listed, nearest

ELEMENTARY_CHARGE = 1.602176634e-19  # C, exact
HARTREE = 27.211386245988  # eV
RYDBERG = HARTREE / 2
BOHR = 0.529177210903  # Å
KCAL_PER_MOL = 4184.0 / (6.02214076e23 * ELEMENTARY_CHARGE)  # eV
KJ_PER_MOL = 1000.0 / (6.02214076e23 * ELEMENTARY_CHARGE)  # eV
GPA = 1.0 / 160.2176634  # eV/Å^3
BAR = GPA / 1e4

#: LAMMPS metal units (``nktv2p``): bar in one eV/Å^3. 8e-8 below CODATA 2018.
LAMMPS_BAR_PER_EV_A3 = 1.6021765e6

ENERGY = {"eV": 1.0, "meV": 1e-3, "Ha": HARTREE, "Ry": RYDBERG, "kcal/mol": KCAL_PER_MOL, "kJ/mol": KJ_PER_MOL}
LENGTH = {"Å": 1.0, "A": 1.0, "Angstrom": 1.0, "Bohr": BOHR, "nm": 10.0}
FORCE = {
    "eV/Å": 1.0,
    "eV/A": 1.0,
    "meV/Å": 1e-3,
    "meV/A": 1e-3,
    "Ha/Bohr": HARTREE / BOHR,
    "Ry/Bohr": RYDBERG / BOHR,
    "kcal/mol/Å": KCAL_PER_MOL,
    "kcal/mol/A": KCAL_PER_MOL,
}
STRESS = {
    "eV/Å^3": 1.0,
    "eV/A^3": 1.0,
    "GPa": GPA,
    "MPa": GPA * 1e-3,
    "Pa": GPA * 1e-9,
    "kbar": GPA * 0.1,
    "bar": BAR,
    "lammps-bar": 1.0 / LAMMPS_BAR_PER_EV_A3,  # bar as LAMMPS metal units have it
    "atm": BAR * 1.01325,
    "Ha/Bohr^3": HARTREE / BOHR**3,
    "Ry/Bohr^3": RYDBERG / BOHR**3,
}
_TABLES = {"energy": ENERGY, "length": LENGTH, "force": FORCE, "stress": STRESS}

#: Order of the six independent components everywhere inside: xx yy zz yz xz xy.
VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")
VOIGT_INDEX = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def factor(quantity: str, unit: str) -> float:
    """Number that converts ``unit`` to the internal unit of ``quantity``.

    :param quantity: ``energy``, ``length``, ``force`` or ``stress``

    A force may be in any energy per length, a stress in any energy per cube of a length.

    >>> round(factor("length", "Bohr"), 6)
    0.529177
    >>> round(factor("force", "kJ/mol/nm"), 9)
    0.001036427
    """
    table = _TABLES[quantity]
    value = _of(table, unit)
    if value is None and quantity in ("force", "stress"):
        energy, _, length = unit.strip().rpartition("/")
        power = 1 if quantity == "force" else 3
        if power == 1 or length.endswith("^3"):
            per, of = _of(ENERGY, energy), _of(LENGTH, length.removesuffix("^3"))
            value = None if per is None or of is None else per / of**power
    if value is None:
        raise SettingsError(f"unknown {quantity} unit {unit!r}. {nearest(unit, table)}Known: {listed(table)}.")
    return value


def _of(table: Mapping[str, float], unit: str) -> float | None:
    """The value of a name; capital letters do not matter."""
    return next((value for name, value in table.items() if name.lower() == unit.strip().lower()), None)
