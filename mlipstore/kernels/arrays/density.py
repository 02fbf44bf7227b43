"""Per-neighbour quantities of SNAP on arrays ``(atoms, neighbours)``; the formulas are those of ``src/snap_basis.hpp``.

U_j[mb, ma] = N v_j[mb, ma] with the recursion, free of coefficients,
``v_j[mb, ma] = conj(a) v_{j-1}[mb, ma] - conj(b) v_{j-1}[mb, ma-1]``, v_0 = fc, where a, b are the Cayley-Klein
parameters of the neighbour (Thompson et al. 2015, doi:10.1016/j.jcp.2014.12.018, sec. 2.1). Derivatives along three
tangent vectors of the 3-sphere are ladder operators T_g, and d(fc U)/dx_c = sum_g omega[c, g] (T_g + alpha_g) (fc U).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import pi
from types import ModuleType
from typing import Any

from .tables import Level


@dataclass
class Neighbours:
    """Neighbours of some atoms, all ``(atoms, neighbours)``.

    :param s: conj(a)
    :param t: -conj(b)
    :param fc: switching function times weight; 0 for what only fills up
    :param alpha: three of them
    :param omega: ``[c][g]``, in 1/Å
    """

    s: Any
    t: Any
    fc: Any
    alpha: list[Any]
    omega: list[list[Any]]

    @classmethod
    def of(cls, xp: ModuleType, x: Any, y: Any, z: Any, constants: dict[str, Any]) -> Neighbours:
        """From vectors to the neighbours in Å (not zero) and the constants of each pair."""
        r = xp.sqrt(x * x + y * y + z * z)
        nx, ny, nz = x / r, y / r, z / r
        rate = constants["angle_rate"]
        theta = (r - constants["origin"]) * rate
        # LAMMPS takes a and b from z0 = r / tan(theta): below rmin0, where theta < 0, that is the opposite point.
        side = xp.where(theta < 0.0, -1.0, 1.0)
        sn, cs = side * xp.sin(theta), side * xp.cos(theta)
        outer = constants["switch_rate"]
        phase = xp.maximum(r - constants["origin"], 0.0) * outer
        s_out, c_out = xp.sin(phase), xp.cos(phase)
        fc = constants["weight"] * c_out * c_out
        slope = -2.0 * outer * s_out / xp.where(c_out == 0.0, 1.0, c_out)
        if "inner_rate" in constants:
            inner = constants["inner_rate"]
            phase = xp.maximum(0.25 * pi + inner * (r - constants["inner_middle"]), 0.0)
            full = phase >= 0.5 * pi
            s_in, c_in = xp.sin(phase), xp.cos(phase)
            fc = xp.where(full, fc, fc * s_in * s_in)
            slope = slope + xp.where(full, 0.0, 2.0 * inner * c_in / xp.where(s_in == 0.0, 1.0, s_in))
        ar, ai, br, bi = cs, -sn * nz, sn * ny, -sn * nx
        made = cls(ar - 1j * ai, -br + 1j * bi, fc, [], [[], [], []])
        radial = (-sn, -cs * nz, cs * ny, -cs * nx)  # d(ar, ai, br, bi)/d(theta)
        tangents = ((-bi, br, -ai, ar), (-br, -bi, ar, ai), (ai, -ar, -bi, br))
        turning = sn / r
        for t in tangents:
            along = radial[0] * t[0] + radial[1] * t[1] + radial[2] * t[2] + radial[3] * t[3]
            made.alpha.append(slope * along / rate)
            part = rate * along - turning * (ny * t[2] - nz * t[1] - nx * t[3])
            for c, (normal, turn) in enumerate(zip((nx, ny, nz), (-t[3], t[2], -t[1]), strict=True)):
                made.omega[c].append(normal * part + turning * turn)
        return made


def recursion(xp: ModuleType, levels: tuple[Level, ...], near: Neighbours) -> Iterator[Any]:
    """v of each level, ``(h, j + 1, atoms, neighbours)``, from 0 upwards."""
    v = xp.zeros((1, 1, *near.fc.shape), dtype=xp.complex128)
    v[0, 0] = near.fc
    yield v
    for level in levels[1:]:
        j, h = level.j, level.h
        # The next level needs one row more of an odd one.
        new = xp.empty((h + j % 2, j + 1, *near.fc.shape), dtype=xp.complex128)
        xp.multiply(near.s, v[:h], out=new[:h, :j])
        new[:h, j] = 0.0
        shifted = new[:h, 1:]
        shifted += near.t * v[:h]
        if j % 2:
            new[h] = level.mirror[0][..., None] * xp.conj(new[h - 1, ::-1])
        v = new
        yield v[:h]


def tangent_columns(xp: ModuleType, level: Level, near: Neighbours, v: Any) -> Any:
    """(T_g + alpha_g) v of one level, ``(atoms, h (j + 1), 3 neighbours)``.

    ``T_x v = i [(ma+1) v[ma+1] + (j-ma+1) v[ma-1]]``, ``T_y v = (ma+1) v[ma+1] - (j-ma+1) v[ma-1]``,
    ``T_z v = i (j-2ma) v``.
    """
    j = level.j
    atoms, n = near.fc.shape
    out = xp.empty((atoms, level.h, j + 1, 3, n), dtype=xp.complex128)
    x, y, z = (xp.moveaxis(out[:, :, :, g], 0, 2) for g in range(3))  # as v is
    xp.multiply(near.alpha[0], v, out=x)
    xp.multiply(near.alpha[1], v, out=y)
    xp.multiply(near.alpha[2] + level.turning, v, out=z)
    up, down = level.raising * v[:, 1:], level.lowering * v[:, :j]
    part = y[:, :j]
    part += up
    part = y[:, 1:]
    part -= down
    up *= 1j
    down *= 1j
    part = x[:, :j]
    part += up
    part = x[:, 1:]
    part += down
    return out.reshape(atoms, level.size, 3 * n)
