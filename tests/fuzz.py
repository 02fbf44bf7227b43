"""Hostile input for a while: python -m tests.fuzz [--seconds 60] [--seed N] [TARGET ...]

One target per reader, and for expressions of ``--where``, run files, FitSNAP inputs and dataset cards. Each is given
small damage to good input, over and over; it has to end in a result or in one error of ours, and within a few seconds.
What does not is kept in ``fuzz-failures/`` and ends the run with exit code 1.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from mlipstore.bookkeeping import Checks, check
from mlipstore.configuration import Batch
from mlipstore.curation.card import TEMPLATE, set_card
from mlipstore.curation.query import select
from mlipstore.errors import MlipstoreError
from mlipstore.fitsnap.convert import convert
from mlipstore.readers import reader_for
from mlipstore.reading import ReadReport
from mlipstore.runs.runfile import load

from .contracts.test_writers import sample, store_of
from .properties.test_expression import WORDS
from .reader_samples import SAMPLES, Sample
from .robustness.bad_input import FITSNAP
from .robustness.sources import RUN
from .robustness.test_fuzz import damaged

#: Takes the changed bytes of one file.
Attempt = Callable[[bytes], object]
EXPRESSIONS = (
    'group == "bulk" and n_atoms > 3', "not (energy_per_atom < -1.5e0 or has_stress == false)", "1 < n_atoms <= 4",
    '"Ta" in elements and elements <= ("W", "Ta")', 'group like "melt*" or info.temperature is not missing',
    'uid in ("ffff0000", "00ff")', "abs(pressure - 0.5) * 2 / volume_per_atom >= max_force",
    "flagged() or note is missing",
)  # fmt: skip
SLOW = 10


class Hang(Exception):
    """An attempt took too long."""


@contextmanager
def watched(seconds: int) -> Iterator[None]:
    """Raise :class:`Hang` inside after some seconds."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise Hang(f"no end after {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def reader(sample: Sample, folder: Path, rng: random.Random) -> tuple[Callable[[], bytes], Attempt]:
    """Damage to one of the files of a sample."""
    path = sample.write(folder)
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    whole = {file: file.read_bytes() for file in files}
    chosen = files[:1]

    def make() -> bytes:
        chosen[0] = rng.choice(files)
        return damaged(whole[chosen[0]], rng)

    def attempt(data: bytes) -> None:
        chosen[0].write_bytes(data)
        try:
            _, found = reader_for(path, sample.options)
            report = ReadReport()
            read = [c for part in found.files(path) for c in found.read(part, report, path)]
            if read:
                check(Batch.from_configurations(read), "missing", Checks(), report)
        finally:
            chosen[0].write_bytes(whole[chosen[0]])

    return make, attempt


def text_file(text: str, folder: Path, name: str, rng: random.Random, read: Callable[[Path], object]) -> tuple[
    Callable[[], bytes], Attempt
]:  # fmt: skip
    """Damage to a file that one function reads."""
    path = folder / name

    def attempt(data: bytes) -> None:
        path.write_bytes(data)
        read(path)

    return lambda: damaged(text.encode(), rng), attempt


def expressions(folder: Path, rng: random.Random) -> tuple[Callable[[], bytes], Attempt]:
    """Damage to expressions, and words of the language in any order."""
    snapshot = store_of(folder / "where.mlip", sample(("bulk", "melt 2000 K"))).at()

    def make() -> bytes:
        if rng.random() < 0.2:
            return rng.choice((" and ", " or ")).join(f"({rng.choice(EXPRESSIONS)})" for _ in range(5)).encode()
        if rng.random() < 0.5:
            return damaged(rng.choice(EXPRESSIONS).encode(), rng)
        words = [rng.choice(WORDS) for _ in range(rng.choice((3, 10, 100, 2_000)))]
        return rng.choice((" ", "")).join(words * rng.choice((1, 1, 20))).encode()

    return make, lambda data: select(snapshot, data.decode("utf-8", "replace"))


def targets(folder: Path, rng: random.Random) -> dict[str, Callable[[], tuple[Callable[[], bytes], Attempt]]]:
    """All targets by name; each is made when it is run."""
    run_file = 'store = "a.mlip"\n[ingest]\nsources = ["."]\n' + RUN + '[fit.solver]\ntype = "ridge"\n'
    store = store_of(folder / "card.mlip", sample(("bulk",)))
    out: dict[str, Callable[[], tuple[Callable[[], bytes], Attempt]]] = {
        "where": lambda: expressions(folder, rng),
        "run-file": lambda: text_file(run_file, folder, "run.toml", rng, load),
        "fitsnap-input": lambda: text_file(FITSNAP, folder, "fit.in", rng, convert),
        "card": lambda: text_file(TEMPLATE, folder, "card.toml", rng, lambda path: set_card(store, path)),
    }
    for name, samples in sorted(SAMPLES.items()):
        for i, one in enumerate(samples):
            where = folder / f"{name}-{i}"
            where.mkdir()
            out[name if len(samples) == 1 else f"{name}-{i}"] = lambda one=one, where=where: reader(one, where, rng)  # type: ignore[misc]
    return out


def run(name: str, make: Callable[[], bytes], attempt: Attempt, seconds: float, failures: Path) -> bool:
    """Attempt for a while; whether all went well."""
    results = errors = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        data = make()
        try:
            with watched(SLOW):
                attempt(data)
            results += 1
        except MlipstoreError as error:
            if len(str(error)) > 3_000:
                return failed(name, data, failures, f"an error of {len(str(error)):,} characters")
            errors += 1
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            return failed(name, data, failures, traceback.format_exc())
    print(f"{name:24s} {results:8,} results {errors:8,} errors", flush=True)
    return True


def failed(name: str, data: bytes, failures: Path, what: str) -> bool:
    failures.mkdir(exist_ok=True)
    path = failures / f"{name}-{abs(hash(data)):x}"
    path.write_bytes(data)
    print(f"{name}: {what}\nThe input is in {path}.", file=sys.stderr, flush=True)
    return False


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", nargs="*", help="default: all")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each target")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"))
    given = parser.parse_args(words)
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    print(f"seed {seed}")
    with tempfile.TemporaryDirectory() as folder:
        every = targets(Path(folder), random.Random(seed))
        for name in given.target:
            if name not in every:
                parser.error(f"no target {name!r}; known: {', '.join(every)}")
        good = [run(name, *every[name](), given.seconds, given.failures) for name in given.target or every]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
