"""The kernels compile without a warning and run without a finding of the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlipstore import kernels

ROOT = Path(__file__).parents[2]
RUN = """
import sys
# An editable install would come first.
sys.meta_path[:] = [f for f in sys.meta_path if "Redirecting" not in type(f).__name__]
sys.path[:0] = [{here!r}]
from mlipstore import kernels
assert all(kernels.load("snap", isa).__file__.startswith({here!r}) for isa in kernels.isas())
import pytest
names = ["kernel_snap", "kernel_pair", "xyz_runs", "fitsnap_runs"]
sys.exit(pytest.main(["-q", "-s", "-p", "no:cacheprovider", *(f"tests/unit/test_{{name}}.py" for name in names)]))
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cmake") is None or shutil.which("g++") is None, reason="needs cmake and g++")
@pytest.mark.skipif(importlib.util.find_spec("nanobind") is None, reason="needs nanobind")
@pytest.mark.skipif(platform.system() != "Linux", reason="the sanitizers are preloaded the Linux way")
def test_no_warnings_and_no_findings_of_sanitizers(tmp_path: Path) -> None:
    def run(*command: str, **environment: str) -> str:
        done = subprocess.run(
            command, cwd=here, env=os.environ | environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert done.returncode == 0, done.stdout[-5000:]
        return done.stdout

    here = tmp_path / "checked"
    for folder in ("mlipstore", "tests"):
        shutil.copytree(ROOT / folder, here / folder, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", here)
    build = str(tmp_path / "build")
    only = f"MLIPSTORE_ONLY=baseline;{kernels.isas()[-1]}"
    options = (
        only,
        "MLIPSTORE_WERROR=ON",
        "MLIPSTORE_SANITIZE=address,undefined",
        f"Python_EXECUTABLE={sys.executable}",
    )
    run("cmake", "-S", str(ROOT), "-B", build, "-DCMAKE_CXX_COMPILER=g++", *(f"-D{o}" for o in options))
    run("cmake", "--build", build, "--parallel", str(os.cpu_count()))
    run("cmake", "--install", build, "--prefix", str(here))
    libraries = [run("g++", f"-print-file-name=lib{name}.so").strip() for name in ("asan", "ubsan")]
    output = run(
        sys.executable,
        "-c",
        RUN.format(here=str(here)),
        LD_PRELOAD=":".join(libraries),
        ASAN_OPTIONS="detect_leaks=0",  # of the interpreter
        UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1",
    )
    assert "passed" in output and "runtime error" not in output
