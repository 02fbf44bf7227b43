"""How commands end: exit codes, one line for what a user can act on, a traceback for a bug, a word after Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlipstore_cli.app import app, main

import mlipstore.show
from mlipstore import errors
from mlipstore.executors._pool import uninterrupted
from mlipstore.store import Repository

from ..robustness.sources import ROOT, done, finished, frames, run, start, write_extxyz, write_json_tree

KINDS = [
    (errors.SettingsError("no such setting."), 2),
    (errors.UnknownNameError("no group 'a'."), 2),
    (errors.InputError("too few forces.", "a.xyz", 1234, 56), 1),
    (errors.StoreError("cannot be written."), 1),
    (errors.StoreNotFoundError("there is no store."), 1),
    (errors.DamagedStoreError("lost data."), 1),
    (errors.ComputeError("failed."), 1),
    (errors.MemoryLimitError("exceeds 4 GB."), 1),
    (errors.MissingDependencyError("needs matplotlib."), 1),
]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return Repository.create(tmp_path / "s.mlip").path


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Ctrl-C as on a terminal, here and in what is started; a shell that runs tests in the background ignores it."""
    outside = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, outside)


def test_every_kind_of_error_is_known() -> None:
    kinds = {k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, errors.MlipstoreError)}
    assert kinds - {errors.MlipstoreError} == {type(error) for error, _ in KINDS}


@pytest.mark.parametrize(("error", "code"), KINDS, ids=lambda value: type(value).__name__)
def test_an_error_is_one_line(
    error: errors.MlipstoreError, code: int, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On stderr, without quotation marks around it, nothing on stdout."""

    def fail(*words: object) -> None:
        raise error

    monkeypatch.setattr(mlipstore.show, "show", fail)
    outcome = run("show", store)
    assert (outcome.code, outcome.out, outcome.err) == (code, "", f"error: {error}\n")


def test_what_is_easily_mistyped(store: Path, tmp_path: Path) -> None:
    """Store and data the other way round, an empty folder, an expression that selects nothing."""
    data = write_extxyz(tmp_path / "a.xyz", frames(2))
    outcome = run("ingest", data, store)
    assert outcome.code == 1 and f"comes first, then what is read: mlipstore ingest STORE {data}" in outcome.err
    (tmp_path / "empty").mkdir()
    assert run("ingest", store, tmp_path / "empty").err == f"error: {tmp_path / 'empty'}: this folder is empty.\n"
    done("ingest", store, data, "--executor", "serial")
    out = done("remove", store, "--where", 'group == "nobody"').out
    assert out == "  nothing to remove: no configuration is selected\n"
    other = write_extxyz(tmp_path / "b.xyz", frames(2, seed=1))
    out = done("relabel", store, "--where", "true", "--labels", other).out
    assert out == "  nothing to relabel: the file has no other labels for 2 selected ones\n"


def test_help_is_a_command_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (["help", "fit"], ["fit", "--help"]):
        monkeypatch.setattr(sys, "argv", ["mlipstore", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code and capsys.readouterr().out.startswith("Usage: mlipstore fit STORE [options]")


def test_places_are_named_in_full() -> None:
    error = errors.InputError("too few forces.", "a.xyz", 1234, 56)
    assert str(error) == "a.xyz, frame 1,234 (line 56): too few forces."
    assert str(errors.InputError("empty.", "a.xyz", line=7)) == "a.xyz, line 7: empty."


def test_errors_come_back_from_workers_as_they_are() -> None:
    import pickle

    for error, _ in KINDS:
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error) and str(copy) == str(error)


def test_errors_come_back_where_tblib_pickles_them() -> None:
    """Importing ``distributed`` makes tblib pickle every exception, by ``type.__new__`` in place of the type itself."""
    code = (
        "import pickle, distributed; from mlipstore import errors\n"
        "for name, kind in vars(errors).items():\n"
        "    if isinstance(kind, type) and issubclass(kind, Exception):\n"
        "        copy = pickle.loads(pickle.dumps(kind('what is wrong.')))\n"
        "        assert type(copy) is kind and str(copy) == 'what is wrong.', name\n"
    )
    pytest.importorskip("distributed")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_bug_keeps_its_traceback(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlipstore.show, "show", lambda *words: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        run("show", store)


@pytest.mark.parametrize(
    "words",
    [
        ["fiit"],
        ["fit"],
        ["ingest", "a.mlip"],
        ["fit", "a.mlip", "--colour", "red"],
        ["ingest", "a.mlip", "b.xyz", "-j", "many"],
        ["remove", "a.mlip"],
    ],
)
def test_a_wrong_command_says_how_it_goes(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run(*words)
    assert outcome.code == 2 and "Usage: mlipstore" in outcome.err and "Traceback" not in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_every_command_explains_itself() -> None:
    names = [command.name or command.callback.__name__ for command in app.registered_commands]  # type: ignore[union-attr]
    for name in names:
        outcome = run(name.replace("_", "-"), "--help")
        assert outcome.code == 0 and "Usage" in outcome.out and len(outcome.out) > 200


def test_json_goes_to_stdout_alone(store: Path) -> None:
    import json

    outcome = done("show", store, "--json")
    assert json.loads(outcome.out)["configurations"] == 0 and outcome.err == ""


def test_the_handler_of_interrupts_is_no_trap_for_the_caller(store: Path) -> None:
    """After the command, Ctrl-C is an ordinary interrupt again."""
    before = signal.getsignal(signal.SIGINT)
    for words in (["show", store], ["show", store, "nothing"]):
        run(*words)
        assert signal.getsignal(signal.SIGINT) is before


# ------------------------------------------------------------------- processes
def small(*words: str | Path) -> subprocess.Popen[str]:
    """A command with small segments, after its imports."""
    process = start(*words, module="tests.robustness.small_segments")
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("delay", [0.25, 0.9])
def test_ctrl_c_ends_with_one_line(tmp_path: Path, delay: float) -> None:
    """The whole process group gets it, as on a terminal; workers are silent and gone."""
    source = write_extxyz(tmp_path / "a.xyz", frames(3000, 1))
    process = small("ingest", tmp_path / "s.mlip", source)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    outcome = finished(process)
    assert outcome.code == 130, outcome
    assert outcome.err.strip() == "stopped. What was committed stays; the same command continues."


def interrupted_at(module: str, *words: str | Path, first: str = "") -> subprocess.CompletedProcess[str]:
    """A command that gets Ctrl-C as it begins to import ``module``, which makes another error of it."""
    code = (
        f"import os, signal, sys\n{first}\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            try:\n"
        "                signal.raise_signal(signal.SIGINT)\n"
        "            except KeyboardInterrupt:\n"
        "                raise ImportError('half of it') from None\n"
        f"sys.modules.pop({module!r}, None)\n"
        "sys.meta_path.insert(0, Finder())\n"
        f"sys.argv = {['mlipstore', *map(str, words)]}\n"
        "from mlipstore_cli import main\n"
        "main()\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "cli")])}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("module", ["typer", "mlipstore_cli.data", "numpy", "mlipstore.ingest"])
def test_ctrl_c_during_imports_is_quiet(tmp_path: Path, module: str) -> None:
    """Whatever is being imported when it comes, also where an import turns it into another error."""
    done = interrupted_at(module, "ingest", tmp_path / "s.mlip", tmp_path)
    assert done.returncode == 130 and "Traceback" not in done.stderr, done
    assert done.stderr.strip() in ("", "stopped. What was committed stays; the same command continues.")


@pytest.mark.parametrize("module", ["typer", "mlipstore.show"])
def test_ctrl_c_that_is_ignored_outside_is_ignored(store: Path, module: str) -> None:
    """As in ``nohup`` and in the background of a script: by the console script, and by what it calls."""
    done = interrupted_at(module, "show", store, first="signal.signal(signal.SIGINT, signal.SIG_IGN)")
    assert done.returncode == 0 and done.stderr == "" and "configurations" in done.stdout, done


def test_ctrl_c_with_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the moment the first of them starts, which is when they would complain most."""
    pytest.importorskip("lammps")
    monkeypatch.setenv("MLIPSTORE_SNAP_BACKEND", "lammps")
    settings = tmp_path / "run.toml"
    settings.write_text('[descriptor]\ntype = "snap"\nelements = ["Ta", "W"]\nrcutfac = 4.6\ntwojmax = 8\n')
    tree = write_json_tree(tmp_path / "tree", frames(300, 1))
    assert finished(small("ingest", tmp_path / "s.mlip", tree, "-q")).code == 0
    process = small("featurize", tmp_path / "s.mlip", "-d", settings, "-j", "2")
    before = time.monotonic()
    while len(_children(process.pid)) < 2 and process.poll() is None and time.monotonic() < before + 60:
        time.sleep(0.001)  # one is Python's tracker of semaphores
    os.killpg(process.pid, signal.SIGINT)
    outcome = finished(process)
    assert outcome.code == 130, outcome
    assert outcome.err.strip() == "stopped. What was committed stays; the same command continues."


def test_an_interrupt_while_workers_start_comes_afterwards() -> None:
    """As it comes when another thread of the process took the signal: Python's handler runs, whatever the mask."""
    steps = []

    def interrupt() -> None:
        handler = signal.getsignal(signal.SIGINT)
        assert callable(handler)
        handler(signal.SIGINT, None)

    with pytest.raises(KeyboardInterrupt), uninterrupted():
        interrupt()
        steps.append("to the end")
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        interrupt()
        interrupt()
        steps.append("a second one does not wait")
    assert steps == ["to the end"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())


def _children(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []


@pytest.mark.parametrize(
    ("shell", "code", "out", "err"),
    [
        ("{command} show {store} --json | head -c 1", 0, "{{", ""),
        ("{command} show {store} > /dev/full", 1, "", "error: the output: No space left on device. Free space"),
        ("{command} show {store} >&-", 0, "", ""),
        ("{command} show {store}x 2>&-", 1, "", ""),
        ("PYTHONIOENCODING=ascii {command} show {store} | head -c 1", 0, "/", ""),
        ("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 {command} show {store} | grep -c configurations", 0, "", ""),
    ],
)
def test_output_that_goes_nowhere(store: Path, shell: str, code: int, out: str, err: str) -> None:
    """To a reader that goes away, a full disk, a closed stream, a terminal that lacks letters: never a traceback."""
    if "/dev/full" in shell and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    text = shell.format(command=f"{sys.executable} -m mlipstore_cli", store=store)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'cli'}"}
    process = subprocess.run(["sh", "-c", text], env=environment, capture_output=True, text=True, timeout=60)
    assert process.returncode == code and process.stdout.startswith(out.format()), process
    assert process.stderr.startswith(err) and bool(process.stderr) == bool(err), process


def test_no_memory_left(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*words: object) -> None:
        raise MemoryError("Unable to allocate 99 GB")

    monkeypatch.setattr(mlipstore.show, "show", fail)
    outcome = run("show", store)
    assert outcome.code == 1 and outcome.err.startswith("error: out of memory. Use fewer --workers")
