"""Makes ``format-1.tar.gz`` (a store of format 1) and ``format-1.json`` (what it holds). It was run once.

``python -m tests.compatibility.make_format_1``. The store is never made anew: a store that the first version wrote must
stay readable, so a change that cannot read it is wrong, not the store.
"""

from __future__ import annotations

import json
import tarfile
import tempfile
from pathlib import Path

from mlipstore.curation.annotations import Annotation, write
from mlipstore.descriptors.snap import Snap
from mlipstore.features import Feature
from mlipstore.featurize import featurize
from mlipstore.fit import fit, load
from mlipstore.index import Index
from mlipstore.ingest import ingest
from mlipstore.reading import ReadOptions
from mlipstore.runs.tables import Fit, GroupSettings
from mlipstore.store import Repository

from ..robustness.content import content
from ..robustness.sources import frames, write_extxyz

HERE = Path(__file__).parent
FEATURE = Feature.of("snap", Snap(("Ta", "W"), 4.6, (2,)), "rows")
SETTINGS = Fit(name="model", default=GroupSettings(energy=10.0, force=1.0, stress=0.1))


def make(folder: Path) -> Repository:
    """Two ingests, rows, a model, a tag in between, an annotation."""
    repository = Repository.create(folder / "format-1.mlip")
    for n, count in enumerate((8, 5)):
        file = write_extxyz(folder / f"{n}.xyz", frames(count, seed=n, most=1))
        ingest(repository, [file], ReadOptions())
        if n == 0:
            repository.tag("first")
    featurize(repository, FEATURE, None)
    fit(repository, SETTINGS)
    uid = Index.load(repository.at()).uid[0].tobytes()
    with repository.transaction("annotate", {"verb": "annotate"}, exclusive=True) as tx:
        write(tx.root, Annotation("note", "remark", {uid: "the first"}))
    return repository


def described(repository: Repository) -> dict[str, object]:
    """What must be read of it, for people too."""
    snapshot = repository.at()
    model = load(snapshot, snapshot.names("models")[0])
    return {
        "configurations": len(Index.load(snapshot)),
        "coefficients": model.coefficients.tolist(),
        "verbs": [c.verb for c in repository.log()],
        "content": {ref: content(str(repository.path), ref) for ref in ("main", "first")},
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        made = make(Path(folder))
        (HERE / "format-1.json").write_text(json.dumps(described(made), indent=1, sort_keys=True) + "\n")
        with tarfile.open(HERE / "format-1.tar.gz", "w:gz") as archive:
            archive.add(str(made.path), "format-1.mlip")
