"""Sources, options of ingest and stores that cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .cases import Place, Words, case


# -------------------------------------------------------------- ingest options
@case(1, "trian.xyz", "train.xyz")
def source_that_is_not_there(p: Place) -> Words:
    p.xyz(name="train.xyz")
    return ["ingest", p.new, p.folder / "trian.xyz"]


@case(1, "empty")
def empty_source_folder(p: Place) -> Words:
    (p.folder / "empty").mkdir()
    return ["ingest", p.new, p.folder / "empty"]


@case(1, "several formats", "--format")
def folder_of_two_formats(p: Place) -> Words:
    p.json(lambda d: None)
    p.xyz(name="tree/a.xyz")
    return ["ingest", p.new, p.folder / "tree"]


@case(2, "exyz", "extxyz")
def unknown_format(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(), "--format", "exyz"]


@case(2, "furlong", "GPa")
def unknown_unit(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(), "--stress-unit", "furlong"]


@case(2, "stress-sign", "tension")
def unknown_stress_sign(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(), "--stress-sign", "up"]


@case(2, "zero_stress", "missing")
def unknown_zero_stress(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(), "--zero-stress", "perhaps"]


@case(2, "group-by", "directory")
def unknown_group_by(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(), "--group-by", "moon"]


@case(2, "--index", "start:stop")
def bad_index(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(), "--index", "a:b"]


@case(2, "--group-stress-unit", "GROUP=VALUE")
def bad_group_stress_unit(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(), "--group-stress-unit", "g0"]


@case(1, "g00", "g0", "Groups")
def include_a_group_that_is_not_there(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(), "--include-group", "g1", "--include-group", "g00"]


@case(2, "proceses", "processes")
def unknown_executor(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(), "--executor", "proceses"]


@case(2, "workers", "-3")
def negative_workers(p: Place) -> Words:
    return ["ingest", p.new, p.xyz(), "-j", "-3"]


# ---------------------------------------------------------------------- stores
@case(1, "god.mlip", "good.mlip", "ingest")
def store_that_is_not_there(p: Place) -> Words:
    return ["show", p.store.with_name("god.mlip")]


@case(1, "plain", "not a store")
def store_is_a_plain_folder(p: Place) -> Words:
    p.file("plain/readme.txt", "hello")
    return ["ingest", p.folder / "plain", p.xyz()]


@case(1, "file.mlip", "not a store")
def store_is_a_file(p: Place) -> Words:
    return ["ingest", p.file("file.mlip", "hello"), p.xyz()]


@case(1, "file.mlip", "not a store")
def read_a_store_that_is_a_file(p: Place) -> Words:
    return ["show", p.file("file.mlip", "hello")]


@case(1, "foreign", "did not make")
def store_of_another_program(p: Place) -> Words:
    _foreign(p.folder / "foreign", {})
    return ["show", p.folder / "foreign"]


@case(1, "foreign", "did not make")
def ingest_into_a_store_of_another_program(p: Place) -> Words:
    _foreign(p.folder / "foreign", {"title": "weather"})
    return ["ingest", p.folder / "foreign", p.xyz()]


@case(1, "newer", "format 99", "newer mlipstore")
def store_of_a_newer_format(p: Place) -> Words:
    _foreign(p.folder / "newer", {"mlipstore_format": 99})
    return ["fit", p.folder / "newer"]


def _foreign(path: Path, attributes: dict[str, Any]) -> None:
    import icechunk
    import zarr

    repository = icechunk.Repository.create(icechunk.local_filesystem_storage(str(path)))
    session = repository.writable_session("main")
    zarr.open_group(session.store, mode="a").attrs.update({"by": "someone", **attributes})
    session.commit("made elsewhere")


@case(1, "v2", "main")
def version_that_is_not_there(p: Place) -> Words:
    return ["show", p.store, "--ref", "v2"]


@case(2, "modle", "model")
def show_a_name_that_is_not_there(p: Place) -> Words:
    return ["show", p.store, "modle"]


@case(2, "holds no configurations", "ingest")
def featurize_an_empty_store(p: Place) -> Words:
    from mlipstore.store import Repository

    Repository.create(p.folder / "empty.mlip")
    return ["featurize", p.folder / "empty.mlip", "-d", p.settings]


@case(2, "holds no configurations", "ingest")
def featurize_an_empty_store_by_settings(p: Place) -> Words:
    return [*featurize_an_empty_store(p)[:2], "-d", "snap", "--set", "rcutfac=4.7"]


@case(2, "no features", "featurize")
def fit_before_featurize(p: Place) -> Words:
    return ["fit", _ingested(p), "-c", p.settings]


@case(2, "lacks 6 of", "featurize")
def fit_with_new_configurations(p: Place) -> Words:
    import shutil

    from ..sources import done

    store = p.folder / "more.mlip"
    shutil.copytree(p.store, store)
    done("ingest", store, p.xyz())
    return ["fit", store, "-c", p.settings]


@case(2, "no labels", "[fit.groups]")
def fit_without_labels(p: Place) -> Words:
    from ..sources import done

    path = p.xyz(_without_labels)
    store = p.folder / "bare.mlip"
    done("ingest", store, path)
    done("featurize", store, "-d", p.settings, "--executor", "serial")
    return ["fit", store, "-c", p.settings]


def _without_labels(text: str) -> str:
    lines = [" ".join(s.split()[:4]) if s[:2] in ("Ta", "W ") else s for s in text.split("\n")]
    text = "\n".join(lines).replace(":forces:R:3", "").replace(" energy=", " step=")
    return text.replace(" stress=", " note=")


def _ingested(p: Place) -> Path:
    from ..sources import done

    store = p.folder / "ingested.mlip"
    done("ingest", store, p.xyz())
    return store
