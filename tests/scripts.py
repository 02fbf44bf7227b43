"""Running scripts as their readers do, and the demo's maker of training data."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]


def run(script: Path | str, folder: Path, *arguments: str) -> str:
    """What a script, or ``-m`` and a module, prints, run in ``folder``; a failure shows all of it."""
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "cli"), environment.get("PYTHONPATH", "")])
    environment["TMPDIR"] = str(folder)
    environment["PYTHONIOENCODING"] = "utf-8"
    environment["COLUMNS"] = "200"
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def load_make_data() -> ModuleType:
    """``examples/demo/make_data.py`` as a module."""
    spec = importlib.util.spec_from_file_location("make_data", ROOT / "examples/demo/make_data.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
