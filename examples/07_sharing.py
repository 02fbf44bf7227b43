"""Two people, one data set: each clones it, adds data, and both end with both.

Here the shared place is a folder on this machine. An address such as s3://group/tungsten.mlip works the same way, with
credentials from the environment; https://data.example.org/tungsten.mlip can be cloned and pulled from. The data are
made up; take your own files.
"""

# %% A data set, and the place that everybody can reach
import sys
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

import mlipstore
from mlipstore.cleaning import gc
from mlipstore.compact import compact
from mlipstore.errors import StoreError
from mlipstore.sharing.remote import clone, pull, push
from mlipstore.verify import verify

folder = Path(tempfile.mkdtemp(prefix="mlipstore-example-"))


def labelled(name: str, n: int, group: str, seed: int) -> Path:
    """A file of tungsten cells with made-up labels."""
    random = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        atoms = bulk("W", "bcc", a=3.17 * (1 + 0.01 * random.normal()), cubic=True)
        atoms.rattle(0.05, rng=random)
        atoms.calc = SinglePointCalculator(atoms, energy=-22.0 + random.normal(), forces=random.normal(size=(2, 3)))
        atoms.info["config_type"] = group
        frames.append(atoms)
    write(folder / name, frames)
    return folder / name


mine = mlipstore.create_store(folder / "mine.mlip")
mine.ingest(labelled("bulk.xyz", 16, "bulk", seed=1))
mine.tag("v1.0")
here = folder / "mine.mlip"

# %% A bucket, if one is given (python 07_sharing.py s3://bucket/tungsten.mlip), else a folder
shared = sys.argv[1] if len(sys.argv) > 1 else str(folder / "shared.mlip")
moved = push(here, shared)
print(f"shared: {moved.objects} files, {moved.bytes:,} bytes, {', '.join(moved.refs)}")

# %% A colleague clones it; both add data and do not know of each other
there = folder / "yours.mlip"
clone(shared, there)
yours = mlipstore.open_store(there)
mine.ingest(labelled("melt.xyz", 8, "melt", seed=2))
for part in range(3):
    yours.ingest(labelled(f"surface-{part}.xyz", 2, "surface", seed=3 + part))

# %% The first one pushes; the second one is told what to do, and does it
push(here)
try:
    push(there)
except StoreError as error:
    print("as it should:", str(error).partition(". ")[0].replace(str(folder), "..."))
result = pull(there, rebase=True)
print(result.rebased, "versions of yours put on top of mine")
push(there)

# %% Only what is missing travels back
moved = pull(here)
print(f"back: {moved.objects} files, {moved.bytes:,} bytes")
for place in (here, there, shared):
    store = mlipstore.open_store(place)
    print(len(store.configurations), "configurations,", "whole" if verify(place).sound else "damaged")

# %% Many small additions become one segment; earlier versions stay until they are forgotten (gc --expire)
done = compact(mlipstore.open_store(shared).repository)
print(f"{done.merged} small segments became {done.into}, {done.arrays} arrays {done.arrays_left}")
pull(here)
print(len(mlipstore.open_store(here).configurations), "configurations;", gc(here, dry_run=True).files, "files unused")


# %% A copy for everybody behind any static web server: v1.0, and what leads to it
class Quiet(SimpleHTTPRequestHandler):
    """Python's own server, without its log."""

    def log_message(self, format: str, *args: object) -> None:
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
threading.Thread(target=server.serve_forever, daemon=True).start()
published = f"http://127.0.0.1:{server.server_address[1]}/mine.mlip"
clone(published, folder / "theirs.mlip", ref="v1.0")
server.shutdown()
print(len(mlipstore.open_store(folder / "theirs.mlip").configurations), "configurations in v1.0")
