"""Extended XYZ frames read in blocks by the kernel are the frames read one by one, notes and errors included."""

from __future__ import annotations

import random
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlipstore import kernels
from mlipstore.configuration import Batch
from mlipstore.errors import InputError, MissingDependencyError
from mlipstore.parts import Part
from mlipstore.readers import _xyz_runs
from mlipstore.readers.extxyz import ExtXyz
from mlipstore.reading import ReadOptions, ReadReport

from ..shared_data import DATA, needs_data
from .test_portions import BROKEN, FILES

try:
    KERNEL: Any = kernels.load("xyz", "baseline")
except MissingDependencyError:
    KERNEL = None
needs_kernel = pytest.mark.skipif(KERNEL is None, reason="the package was built without the kernel 'xyz'")
pytestmark = needs_kernel

CELL = 'Lattice="{a} 0.1 0 0 {b} 0 -0.2 0 {c}"'
TENSOR = "{a} 0.5 0.25 0.5 {b} 1e-3 0.25 1e-3 {c}"


def numbers(rng: random.Random) -> dict[str, Any]:
    forms = ("{:.8f}", "{:.3e}", "{!r}", "{:+.2f}", "{:.0f}.")
    return {k: rng.choice(forms).format(rng.uniform(3, 9)) for k in "abcde"} | {
        "i": rng.randrange(-5, 5), "t": rng.choice(("T", "F")), "name": rng.choice(("bulk", "slab_1", "x-2", "7")),
        "j": repr(rng.uniform(-9, 9)),
    }  # fmt: skip


def frames(comment: str, columns: str = "species:S:1:pos:R:3:forces:R:3", n: int = 40, seed: int = 0) -> str:
    """Frames whose comment line is ``comment`` filled with numbers, and whose atoms are random."""
    rng = random.Random(seed)
    out = []
    for _ in range(n):
        atoms = rng.randrange(1, 6)
        values = numbers(rng)
        head = f"{comment.format(**values)} Properties={columns}"
        rows = []
        for _ in range(atoms):
            row = []
            for kind, count in zip(columns.split(":")[1::3], columns.split(":")[2::3], strict=True):
                for _ in range(int(count)):
                    word = {"S": rng.choice(["Si", "O", "He"]), "R": repr(rng.gauss(0, 1)), "L": rng.choice("TF")}
                    row.append(word.get(kind, str(rng.randint(1, 9))))
            rows.append(rng.choice(("  ", "\t", " ")).join(row))
        out += [str(atoms), head, *rows]
    return "\n".join(out) + "\n"


KINDS: dict[str, str] = {
    **FILES,
    **BROKEN,
    "ase": frames(f'{CELL} energy={{d}} stress="{TENSOR}" config_type={{name}} pbc="T T T"'),
    "gap": frames(f'{CELL} dft_energy={{d}} dft_virial="{TENSOR}" config_type={{name}}'),
    "mace": frames(f'{CELL} REF_energy={{d}} REF_stress="_JSON [[{{j}}, 1, 2], [1, {{j}}, 3], [2, 3, {{j}}]]"'),
    "json": frames(f"{CELL} energy={{d}} REF_virial=[[{{j}},0.5,0.25],[0.5,{{j}},1e-3],[0.25,1e-3,{{j}}]]"),
    "six numbers": frames(f'{CELL} energy={{d}} stress="{{a}} {{b}} {{c}} 0 0 {{e}}"'),
    "not symmetric": frames(f'{CELL} energy={{d}} stress="{{a}} 0.5 0.25 0.50001 {{b}} 0 0.25 0 {{c}}"'),
    "scrambled": frames(f'{CELL} energy={{d}} stress="{{a}} 0.5 0.25 {{i}} {{b}} 0 0.25 0 {{c}}"'),
    "other keys": frames(f'{CELL} energy={{d}} w={{e}} i={{i}} ok={{t}} l="1 {{i}}" f="0.5 {{e}}" note="a {{i}}" x'),
    "molecules": frames('energy={d} pbc="F F F"'),
    "slabs": frames(f'{CELL} energy={{d}} pbc="T {{t}} F"'),
    "virial of a slab": frames(f'{CELL} energy={{d}} virial="{TENSOR}" pbc="T {{t}} T"'),
    "energy and free energy": frames(f"{CELL} energy={{d}} free_energy={{e}}"),
    "whole numbers": frames('Lattice="4 0 0 0 4 0 0 0 -4" energy={i} stress="1 0 0 0 2 0 0 0 -0"'),
    "missing": frames(f'{CELL} energy=nan stress="None"') + frames(f"{CELL} energy=None") + frames(f"{CELL}"),
    "columns": frames(
        f"{CELL} energy={{d}}", "Z:I:1:pos:R:3:momenta:R:3:force:R:3:tags:I:1:move_mask:L:1:magmoms:R:1:charges:R:1"
    ),
    "vectors": frames(f"{CELL} energy={{d}}", "species:S:1:pos:R:3:magmoms:R:3:id:I:1"),
    "kept columns": frames(f"{CELL} energy={{d}}", "species:S:1:pos:R:3:forces:R:3:force_mask:L:1"),
    "strange numbers": frames(f"{CELL} energy={{d}}")
    .replace(" 0.1", " 1e400").replace(" 1.", " x").replace("0. ", "-0 "),
    "lists": frames("Lattice=[[{a},0,0],[0,{b},0],[0,0,{c}]] energy={d} tags=[1,{i}]"),
    "repeated keys": frames(f"{CELL} energy={{d}} energy={{d}}") + frames(f"{CELL} energy={{d}} energy={{e}}"),
}  # fmt: skip
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "units": {"energy_unit": "Ha", "length_unit": "Bohr", "stress_unit": "GPa", "stress_sign": "compression"},
    "groups": {"group_by": "directory", "stress_order": "xx yy zz xy yz zx"},
    "by key": {"group_by": "key:config_type", "group_stress_unit": {"bulk": "kbar"}},
}


def outcome(path: Path, blocks: bool, **options: Any) -> tuple[Batch, ReadReport, str, int]:
    reader, report, error, largest = ExtXyz(ReadOptions(**options)), ReadReport(skip_bad=True), "", 0
    pieces = [Batch.from_configurations([])]
    try:
        for found in reader.read_blocks(path, Part(), report, path) if blocks else reader.read(path, report, path):
            piece = found if isinstance(found, Batch) else Batch.from_configurations([found])
            largest = max(largest, len(piece))
            pieces.append(piece)
    except InputError as refused:
        error = str(refused)
    return Batch.concatenate(pieces), report, error, largest


def assert_same(path: Path, **options: Any) -> int:
    """Compare all columns, notes and errors; the size of the largest block."""
    one, report, error, _ = outcome(path, False, **options)
    block, block_report, block_error, largest = outcome(path, True, **options)
    for name in (f.name for f in fields(Batch)):
        a, b = getattr(one, name), getattr(block, name)
        assert (a is None) == (b is None), name
        if a is not None:
            np.testing.assert_array_equal(a, b, name, strict=True)
            if a.dtype.kind == "f":
                np.testing.assert_array_equal(np.signbit(a), np.signbit(b), name)
    assert block_report == report
    assert block_error == error
    return largest


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_blocks_are_the_frames(kind: str, options: str, tmp_path: Path) -> None:
    path = tmp_path / "set.xyz"
    path.write_text(KINDS[kind])
    assert_same(path, **OPTIONS[options])


@pytest.mark.parametrize(
    "kind",
    [
        "ase",
        "gap",
        "mace",
        "other keys",
        "molecules",
        "six numbers",
        "columns",
        "vectors",
        "plain",
        "not symmetric",
        "json",
    ],
)
def test_frames_come_in_blocks(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_xyz_runs, "_CONFIGURATIONS", 15)
    path = tmp_path / "set.xyz"
    path.write_text(KINDS[kind])
    assert assert_same(path) == 15


@needs_data
@pytest.mark.parametrize("name", ["hfo2/hfo2_train_76.xyz", "si_gap/Si_full.xyz", "ta_ace/ta_configs.xyz"])
def test_real_files(name: str) -> None:
    assert DATA is not None
    assert assert_same(DATA / name) >= 5


def test_numbers_are_rounded_as_python_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = [float(x) for x in rng.normal(size=3000) * 10.0 ** rng.integers(-12, 6, 3000)]
    texts = [rng.choice([f"{v!r}", f"{v:.16e}", f"{v:.25f}", f"{v:.3f}", f"{v:.21g}"]) for v in values]
    texts += [
        "9007199254740993.0e-8",
        "5e-324",
        "4.9406564584124654e-324",
        "2.2250738585072011e-308",
        "00012.50",
    ]
    texts += ["0." + "0" * 30 + "123", "1" * 25 + "e-20", "123456789012345678901234567890e-25", ".5", "5.", "+.25E+2"]
    pattern = KERNEL.XyzPattern([0], [b"c"], [0], [-2, 0], ["", "H"])
    rows = "".join(f"H {t}\n" for t in texts)
    data = np.frombuffer(f"{len(texts)}\nc\n{rows}".encode(), np.uint8)
    end, n_atoms, _, columns, _, _ = pattern.read(data, 0, len(data), 10**6, 10)
    assert (end, n_atoms.tolist()) == (len(data), [len(texts)])
    np.testing.assert_array_equal(columns[:, 0], [float(t) for t in texts])
    for bad in (
        "nan",
        "inf",
        "-0",
        "1e10",
        "1e999",
        "0.1e-400",
        "0x10",
        "1_0",
        "1d3",
        "1.2.3",
        "--1",
        "1e",
        ".",
        "1,5",
    ):
        data = np.frombuffer(f"1\nc\nH {bad}\n".encode(), np.uint8)
        assert pattern.read(data, 0, len(data), 10, 10)[0] == 0, bad


def test_any_bytes_leave_the_kernel_alive(tmp_path: Path) -> None:
    """Frames cut and changed anywhere: the run ends in front of what does not fit."""
    text = KINDS["ase"].encode()[:4000]
    rng = random.Random(1)
    path = tmp_path / "set.xyz"
    for _ in range(60):
        damaged = bytearray(text)
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(bytes(damaged[: rng.randrange(1000, len(damaged))]))
        assert_same(path)


def test_without_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> Any:
        raise MissingDependencyError("not built")

    monkeypatch.setattr(_xyz_runs, "load", missing)
    path = tmp_path / "set.xyz"
    path.write_text(KINDS["ase"])
    assert assert_same(path) == 1
