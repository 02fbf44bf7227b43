"""FitSNAP input files (``.in``): sections and keys with their places, read as FitSNAP reads them.

INI syntax of Python's configparser: keys are case-sensitive, ``#`` begins a comment anywhere, ``%(key)s`` refers to
another key of the section.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import InputError, SettingsError, listed, nearest

_TRUE = ("1", "true", "yes", "on", "y", "t")
_FALSE = ("0", "false", "no", "off", "n", "f")

_KEPT = "rows and errors are kept in the store and open as xarray; mlipstore show lists them"
_UNUSED = "FitSNAP reads it and does not use it"
_ALWAYS = "errors are always given per group, for training and test configurations"
_MEMORY = "memory does not grow with the number of rows; max_memory in [fit] sets a limit"
_SAMPLING = "belongs to FitSNAP's sampling solvers"
_OWN_REPORT = "error tables are printed and kept with the model: mlipstore show"

#: Keys without a counterpart, and what that means for the user.
UNCONVERTED: dict[str, dict[str, str]] = {
    "BISPECTRUM": {"BOLTZT": "FitSNAP never applies it"},
    "CALCULATOR": {},
    "REFERENCE": {},
    "GROUPS": {
        **dict.fromkeys(("BOLTZ", "BOLTZT"), "FitSNAP never applies it"),
        **dict.fromkeys(
            (
                *("vasp_json_pathname", "vasp_ignore_incomplete", "vasp_ignore_jsons", "vasp_use_TOTEN"),
                "vasp_unconverged_label",
            ),
            "belongs to FitSNAP's VASP scraper",
        ),
    },
    "SOLVER": {
        **dict.fromkeys(("normweight", "normratio"), _UNUSED),
        **dict.fromkeys(("compute_testerrs", "detailed_errors"), _ALWAYS),
        **dict.fromkeys(
            (
                *("nsam", "cov_nugget", "mcmc_num", "mcmc_gamma", "merr_method", "merr_mult", "merr_cfs"),
                "dump_perconfig",
            ),
            _SAMPLING,
        ),
        "multinode": "mlipstore streams rows on any number of processes",
    },
    "SCRAPER": {},
    "PATH": {},
    "OUTFILE": {
        **dict.fromkeys(("metrics", "metrics_style"), _OWN_REPORT),
        **dict.fromkeys(("descriptors", "truth", "weights", "dataframe", "configs"), _KEPT),
    },
    "EXTRAS": {
        **dict.fromkeys(
            (
                *("dump_descriptors", "dump_truth", "dump_weights", "dump_dataframe", "dump_peratom", "dump_perconfig"),
                *("dump_configs", "dump_a", "dump_b", "dump_w"),
            ),
            _KEPT,
        ),
        "apply_transpose": "normal equations lose digits; rows are reduced by QR here at the same memory",
        "multinode_testing": _ALWAYS,
        "plot": "mlipstore plot draws parity plots and errors by group",
    },
    "MEMORY": dict.fromkeys(("memory", "override"), _MEMORY),
    "RIDGE": {"local_solver": "it inverts A^T A; the ridge problem is solved by QR here"},
    "TRAINSHIFT": {},
}
#: Keys that are converted.
CONVERTED: dict[str, tuple[str, ...]] = {
    "BISPECTRUM": (
        *("numTypes", "type", "twojmax", "rcutfac", "radelem", "wj", "rfac0", "rmin0", "switchflag"),
        *("switchinnerflag", "sinner", "dinner", "bzeroflag", "quadraticflag", "chemflag", "bnormflag"),
        *("wselfallflag", "bikflag", "dgradflag"),
    ),
    "CALCULATOR": ("calculator", "energy", "force", "stress", "per_atom_energy", "per_atom_scalar", "nonlinear"),
    "REFERENCE": ("units", "atom_style", "pair_style"),
    "GROUPS": ("group_sections", "group_types", "smartweights", "random_sampling", "random_seed"),
    "SOLVER": ("solver",),
    "SCRAPER": ("scraper",),
    "PATH": ("dataPath", "groupFile"),
    "OUTFILE": ("potential", "output_style"),
    "EXTRAS": ("only_test",),
    "RIDGE": ("alpha",),
}
#: Sections of other methods: without effect on a linear SNAP fit.
OTHER_SECTIONS = ("LASSO", "ARD", "PYTORCH", "JAX", "NETWORK", "ACE", "CUSTOM", "TENSORFLOW")
#: Sections in which FitSNAP knows no other keys than those above.
_STRICT = ("BISPECTRUM", "CALCULATOR", "PATH", "SCRAPER", "RIDGE")
#: Keys of BISPECTRUM that older inputs number, one key per element: ``type1``, ``type2`` ...
_NUMBERED = ("type", "radelem", "wj")


class FitsnapInput:
    """Sections and keys of a FitSNAP input; every error names the file, the line and the key.

    :param path: the ``.in`` file
    :raises SettingsError: there is no such file
    :raises InputError: it is not INI syntax
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.text = read_text(self.path)
        parser = configparser.ConfigParser(inline_comment_prefixes=("#",))
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        try:
            parser.read_string(self.text)
            self.sections: dict[str, dict[str, str]] = {s: dict(parser.items(s)) for s in parser.sections()}
        except configparser.Error as e:
            raise self._syntax(e) from None
        if not self.sections:
            raise InputError(
                "no [SECTION] in it. A FitSNAP input has [BISPECTRUM], [GROUPS] and others.", str(self.path)
            )
        numbered = self.sections.get("BISPECTRUM", {})
        for name in _NUMBERED:
            keys = [k for k in numbered if re.fullmatch(rf"{name}\d+", k)]
            if keys and name not in numbered:
                numbered[name] = " ".join(numbered[k] for k in sorted(keys, key=lambda k: int(k[len(name) :])))
            for k in keys:
                del numbered[k]

    def _syntax(self, e: configparser.Error) -> InputError:
        line: int | None = getattr(e, "lineno", None)
        if isinstance(e, configparser.DuplicateOptionError):
            message = f"the key {e.option!r} of [{e.section}] is there twice. Remove one."
        elif isinstance(e, configparser.DuplicateSectionError):
            message = f"the section [{e.section}] is there twice. Join them."
        elif isinstance(e, configparser.MissingSectionHeaderError):
            message = f"found {e.line.strip()!r} before any [SECTION]. Is this a FitSNAP input?"
        elif isinstance(e, configparser.ParsingError) and e.errors:
            line, shown = e.errors[0]
            message = f"found {shown}, expected 'key = value', a [SECTION] or a # comment."
        elif isinstance(e, configparser.InterpolationError):
            line = self.line_of(e.section, e.option)
            message = f"'%' in [{e.section}] {e.option} refers to another key; write '%%' for the sign itself."
        else:
            message = str(e)
        return InputError(message, str(self.path), line=line)

    def line_of(self, section: str, key: str | None = None) -> int | None:
        """Line (from 1) of a section or of a key in it."""
        inside, found = False, None
        for number, line in enumerate(self.text.splitlines(), 1):
            if line.strip().startswith("["):
                inside = line.strip().partition("#")[0].strip() == f"[{section}]"
                found = number if inside else found
            elif inside and key is not None and re.split(r"[=:]", line, maxsplit=1)[0].strip() == key:
                return number
        return found

    def error(self, section: str, key: str | None, message: str) -> InputError:
        """The error for a key (or a whole section)."""
        name = f"[{section}]" + (f" {key}" if key else "")
        return InputError(f"{name}: {message}", str(self.path), line=self.line_of(section, key))

    # ------------------------------------------------------------------ values
    def word(self, section: str, key: str, default: str) -> str:
        """The text of a key, or FitSNAP's default."""
        value = self.sections.get(section, {}).get(key)
        return default if value is None else " ".join(value.split())

    def flag(self, section: str, key: str, default: bool = False) -> bool:
        """A truth value: 1/0, true/false, yes/no, on/off."""
        value = self.word(section, key, "1" if default else "0").lower()
        if value not in _TRUE + _FALSE:
            raise self.error(section, key, f"found {value!r}, expected 1 or 0.")
        return value in _TRUE

    def real(self, section: str, key: str, default: str) -> float:
        """One number."""
        return self._number(section, key, self.word(section, key, default))

    def _number(self, section: str, key: str, value: str) -> float:
        try:
            x = float(value)
        except ValueError:
            raise self.error(section, key, f"found {value!r}, expected a number.") from None
        if x - x != 0.0:
            raise self.error(section, key, f"found {value!r}, expected a finite number.")
        return x

    def per_element(self, section: str, key: str, default: str, n: int, whole: bool = False) -> list[float] | list[int]:
        """One number for each of ``n`` elements; a single one is meant for all."""
        words = self.word(section, key, default).split()
        values = [self._number(section, key, w) for w in words]
        if len(values) == 1:
            values *= n
        if len(values) != n:
            raise self.error(section, key, f"found {len(values)} values, expected {n}, one per element of 'type'.")
        if whole:
            if any(v != int(v) for v in values):
                raise self.error(section, key, f"found {' '.join(words)!r}, expected integers.")
            return [int(v) for v in values]
        return values

    # ---------------------------------------------------------- what is left out
    def refuse_unknown(self) -> None:
        """Keys that FitSNAP would not know either, and sections that look like a misspelt one."""
        for section, keys in self.sections.items():
            known_sections = [*UNCONVERTED, "ESHIFT", *OTHER_SECTIONS]
            if section not in known_sections:
                hint = nearest(section, [s for s in known_sections if s not in self.sections])
                if hint:
                    raise self.error(section, None, f"FitSNAP has no such section. {hint}".rstrip())
                continue
            if section in (*OTHER_SECTIONS, "ESHIFT", "GROUPS", "TRAINSHIFT"):
                continue
            known = [*CONVERTED.get(section, ()), *UNCONVERTED[section]]
            for key in keys:
                if key in known or (section == "REFERENCE" and key.startswith("pair_coeff")):
                    continue
                hint = nearest(key, [k for k in known if k not in keys])
                home = next((s for s, own in CONVERTED.items() if key in own), None)
                if section in _STRICT or hint:
                    place = f"It belongs in [{home}]. " if home else ""
                    raise self.error(
                        section, key, f"FitSNAP has no such key. {hint}{place}Known here: {listed(known, 40)}."
                    )

    def left_out(self) -> Iterator[tuple[str, list[str], str]]:
        """Section, keys and reason of everything in the file that has no counterpart in a run file."""
        for section, keys in self.sections.items():
            reasons: dict[str, list[str]] = {}
            if section in OTHER_SECTIONS:
                yield section, [], "settings of another method, without effect on a linear SNAP fit"
                continue
            if section not in UNCONVERTED and section != "ESHIFT":
                yield section, [], "no section of FitSNAP's linear fits"
                continue
            for key in keys:
                known = section in ("ESHIFT", "GROUPS") or key in CONVERTED.get(section, ())
                if section == "GROUPS" and key in UNCONVERTED["GROUPS"]:
                    known = False
                if known or (section == "REFERENCE" and key.startswith("pair_coeff")):
                    continue
                reason = UNCONVERTED.get(section, {}).get(key, "not known here")
                if section == "TRAINSHIFT":
                    reason = _UNUSED
                reasons.setdefault(reason, []).append(key)
            for reason, names in reasons.items():
                yield section, names, reason


def read_text(path: Path) -> str:
    """The text of an input file; :class:`SettingsError` when it is not there."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise SettingsError(f"there is no file {str(path)!r}. Give the FitSNAP input file (.in).") from None
    except IsADirectoryError:
        raise SettingsError(f"{str(path)!r} is a folder. Give the FitSNAP input file (.in) in it.") from None
    except OSError as e:
        raise SettingsError(f"cannot read {str(path)!r}: {e.strerror or e}.") from None
    control = re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", data)
    if control:
        found = f"not a text file (byte {control[0][0]:#04x}). Give the FitSNAP input file (.in), or remove the byte."
        raise InputError(found, str(path), line=data.count(b"\n", 0, control.start()) + 1)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def group_rows(source: FitsnapInput) -> Mapping[str, tuple[list[str], int | None]]:
    """Group -> words of its row and its line, from ``groupFile`` if there is one, else from ``[GROUPS]``."""
    file = source.word("PATH", "groupFile", "")
    rows: dict[str, tuple[list[str], int | None]] = {}
    if file:
        place = source.path.parent / file
        if not place.is_file():
            raise source.error("PATH", "groupFile", f"there is no file {str(place)!r}.")
        for number, line in enumerate(read_text(place).splitlines(), 1):
            words = line.partition("#")[0].split()
            if words:
                if words[0] in rows:
                    raise InputError(f"the group {words[0]!r} is there twice. Remove one.", str(place), line=number)
                rows[words[0]] = words[1:], number
        return rows
    settings = {*CONVERTED["GROUPS"], *UNCONVERTED["GROUPS"]}
    for key, value in source.sections.get("GROUPS", {}).items():
        if key not in settings:
            rows[key] = value.split(), source.line_of("GROUPS", key)
    return rows
