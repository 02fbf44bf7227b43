"""ASE database (SQLite): labels as results of a calculator, the group as the key ``config_type``.

What else is known goes to key-value pairs where ASE takes it (numbers and texts under names of its form), else to the
``data`` of the row, from where our reader takes it back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..configuration import Configuration
from ..readers._xyz_keys import GROUP_KEYS
from ..writing import WriteReport


@dataclass(frozen=True)
class AseDb:
    """One database of all configurations."""

    suffix = ".db"
    format = "ase-db"

    def reading(self, groups: Sequence[str]) -> Mapping[str, Any]:
        """It says everything itself."""
        return {}

    def write(
        self, configurations: Iterator[Configuration], groups: Sequence[str], path: Path, report: WriteReport
    ) -> int:
        """Write one database; how many configurations."""
        from ase.db import connect

        n = 0
        with connect(str(path), type="db", use_lock_file=False) as database:  # type: ignore[no-untyped-call]
            for c in configurations:
                pairs: dict[str, Any] = {}
                data: dict[str, Any] = {}
                for key, value in {"config_type": c.group, **c.info}.items():
                    if key == "config_type" and value is not c.group:
                        report.lose("info 'config_type': the group has this name")
                    elif _is_pair(key, value) and key not in GROUP_KEYS[1:]:  # a reader would take it for the group
                        pairs[key] = value
                    elif key == "config_type":
                        data[key] = value
                    else:
                        data.setdefault("info", {})[key] = value
                database.write(c.to_ase(), key_value_pairs=pairs, data=data)
                n += 1
        return n


def _is_pair(key: str, value: Any) -> bool:
    """Whether ASE takes it as a key-value pair and gives it back as it is."""
    from ase.db.core import check

    if type(value) not in (str, int, float) or (isinstance(value, int) and abs(value) >= 2**53):
        return False
    try:
        check({key: value})  # type: ignore[no-untyped-call]
    except Exception:  # it raises whatever it meets
        return False
    return True


plugin = AseDb
