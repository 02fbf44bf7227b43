"""Running scripts as their readers do, and the demo's maker of training data."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")]))


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


def mpiexec(ranks: int, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with the given arguments on several ranks."""
    if MPIEXEC is None:
        pytest.skip("there is no mpiexec")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PMI_", "HYDRA_", "OMPI_"))}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "cli"), environment.get("PYTHONPATH", "")])
    return subprocess.run(
        [MPIEXEC, "-n", str(ranks), sys.executable, *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def load_make_data() -> ModuleType:
    """``examples/demo/make_data.py`` as a module."""
    spec = importlib.util.spec_from_file_location("make_data", ROOT / "examples/demo/make_data.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
