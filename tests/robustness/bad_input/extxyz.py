"""Extended XYZ files that are wrong."""

from __future__ import annotations

import numpy as np

from .cases import Place, Words, case, first_atom, header, line


# --------------------------------------------------------------------- extxyz
@case(1, "bad.xyz", "frame 5", "4 fields, expected 7")
def extxyz_truncated_in_an_atom_line(p: Place) -> Words:
    return ["ingest", p.store, p.xyz(lambda t: t[:-200])]


@case(1, "bad.xyz", "frame 5", "atoms")
def extxyz_truncated_after_whole_lines(p: Place) -> Words:
    return ["ingest", p.store, p.xyz(lambda t: "\n".join(t.split("\n")[:-3]) + "\n")]


@case(1, "bad.xyz", "line 5", "more atom lines than it says")
def extxyz_with_too_many_atom_lines(p: Place) -> Words:
    return [
        "ingest",
        p.new,
        p.xyz(lambda t: t.replace("\n", "\nTa 1 2 3 0 0 0\n", 2).replace("\nTa 1 2 3 0 0 0", "", 1)),
    ]


@case(1, "bad.xyz", "frame 0")
def extxyz_atom_line_lacks_a_force(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(lambda t: line(t, 2, lambda s: s.rsplit(" ", 1)[0]))]


@case(1, "bad.xyz", "frame 0", "position")
def extxyz_position_is_nan(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(lambda t: first_atom(t, 1, "nan"))]


@case(1, "bad.xyz", "frame 0", "position")
def extxyz_position_is_infinite(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(lambda t: first_atom(t, 2, "inf"))]


@case(1, "bad.xyz", "frame 0", "oops")
def extxyz_position_is_a_word(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(lambda t: first_atom(t, 1, "oops"))]


@case(1, "bad.xyz", "frame 0", "Xx", "element")
def extxyz_unknown_element(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(lambda t: first_atom(t, 0, "Xx"))]


@case(1, "bad.xyz", "frame 0", "volume")
def extxyz_cell_without_volume(p: Place) -> Words:
    return [
        "ingest",
        p.new,
        p.xyz(lambda t: line(t, 1, lambda s: 'Lattice="4 0 0 8 0 0 0 0 4"' + s[s.index('" ') + 1 :])),
    ]


@case(1, "bad.xyz", "frame 0", "lattice vector")
def extxyz_periodic_without_a_cell(p: Place) -> Words:
    return [
        "ingest",
        p.new,
        p.xyz(lambda t: line(t, 1, lambda s: 'Lattice="0 0 0 0 0 0 0 0 0"' + s[s.index('" ') + 1 :])),
    ]


@case(1, "bad.xyz", "frame 0", "Lattice")
def extxyz_cell_of_eight_numbers(p: Place) -> Words:
    return [
        "ingest",
        p.new,
        p.xyz(lambda t: line(t, 1, lambda s: 'Lattice="4 0 0 0 4 0 0 0"' + s[s.index('" ') + 1 :])),
    ]


@case(1, "bad.xyz", "frame 0", "not a number")
def extxyz_energy_is_a_word(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(lambda t: header(t, "energy=", "energy=high"))]


@case(1, "bad.xyz", "frame 1", "0 atoms")
def extxyz_frame_without_atoms(p: Place) -> Words:
    return ["ingest", p.new, p.file("bad.xyz", _with_empty_frame(p))]


def _with_empty_frame(p: Place) -> str:
    lines = p.xyz(n=1).read_text().rstrip("\n").split("\n")
    return "\n".join([*lines, "0", lines[1], *lines, ""])


@case(1, "bad.xyz", "frame 0", "energy", "--energy-key")
def extxyz_two_energies_that_differ(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(lambda t: t.replace(" energy=", " REF_energy=-1.0 dft_energy=-2.0 old="))]


@case(1, "bad.xyz", "engergy", "energy")
def extxyz_energy_key_that_is_not_there(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(), "--energy-key", "engergy"]


@case(1, "bad.xyz", "no", "'structure'")
def extxyz_group_key_that_is_not_there(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(), "--group-by", "key:structure"]


@case(1, "bad.xyz", "empty")
def extxyz_empty_file(p: Place) -> Words:
    return ["ingest", p.new, p.file("bad.xyz")]


@case(1, "bad.xyz", "damaged")
def file_of_random_bytes(p: Place) -> Words:
    return ["ingest", p.new, p.file("bad.xyz", np.random.default_rng(1).bytes(5000))]


@case(1, "bad.xyz", "frame 2", "number of atoms")
def extxyz_blank_line_in_the_middle(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(lambda t: _blank_before_frame(t, 2))]


def _blank_before_frame(text: str, frame: int) -> str:
    lines, at = text.split("\n"), 0
    for _ in range(frame):
        at += int(lines[at]) + 2
    return "\n".join([*lines[:at], "", "rubbish", *lines[at:]])


@case(1, "bad.xyz", "frame 0", "number of atoms")
def extxyz_that_promises_a_billion_atoms(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(lambda t: line(t, 0, lambda s: "1000000000"))]


@case(1, "bad.xyz", "frame 0")
def extxyz_negative_number_of_atoms(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(lambda t: line(t, 0, lambda s: "-2"))]


@case(1, "bad.xyz", "frame 0", "Properties")
def extxyz_properties_that_make_no_sense(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(lambda t: header(t, "pos:R:3", "pos:R:three"))]


@case(1, "bad.xyz", "frame 0", "pos")
def extxyz_without_positions(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(lambda t: header(t, "pos:R:3", "place:R:3"))]


@case(1, "bad.xyz", "frame 0")
def extxyz_quotation_mark_is_not_closed(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(lambda t: line(t, 1, lambda s: s[: s.index('" ')] + s[s.index('" ') + 1 :]))]


@case(1, "bad.xyz.gz")
def compressed_file_truncated(p: Place) -> Words:
    import gzip

    data = gzip.compress(p.xyz(name="whole.xyz").read_bytes())
    return ["ingest", p.new, p.file("bad.xyz.gz", data[: len(data) // 2])]
