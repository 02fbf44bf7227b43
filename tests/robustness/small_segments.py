"""The command line with segments of 250 atoms, so that a few hundred configurations make many commits.

``python -m tests.robustness.small_segments WORDS...`` prints ``ready`` when everything is imported.
"""

from __future__ import annotations

import sys

import mlipstore_cli.app
import mlipstore_cli.present

import mlipstore.fit
import mlipstore.ingest
import mlipstore.lammps.engine
import mlipstore.pipeline
import mlipstore.seen

for module in (mlipstore.ingest, mlipstore.seen):
    vars(module).update(SEGMENT_ATOMS=250, SEGMENT_CONFIGURATIONS=40)
mlipstore.ingest._COMMIT_EVERY = 0.0

if __name__ == "__main__":
    print("ready", flush=True)
    sys.argv[0] = "mlipstore"
    mlipstore_cli.app.main()
