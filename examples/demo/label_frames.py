"""Label the frames of the LAMMPS run with EMT: a test on configurations that no one chose.

python label_frames.py lammps/melt.dump melt.xyz
"""

from __future__ import annotations

import sys

from ase.io import read, write
from make_data import label


def main(dump: str, output: str) -> None:
    frames = read(dump, ":", format="lammps-dump-text")
    for atoms in frames:
        atoms.symbols = ["Cu" if number == 1 else "Au" for number in atoms.numbers]  # LAMMPS types 1 and 2
        atoms.pbc = True
    write(output, [label(atoms, "melt_in_lammps") for atoms in frames], format="extxyz")
    print(f"{output}: {len(frames)} frames labelled with EMT")


if __name__ == "__main__":
    main(*sys.argv[1:])
