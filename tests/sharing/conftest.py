"""What all tests of this folder need."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_hex

import pytest

from mlipstore.store import Repository

from ..small_store import plugins, small_store
from .servers import OTHER, make_bucket, remove_bucket, s3_server

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """Address of an S3 server; the environment points to it."""
    with s3_server() as url:
        yield url


@pytest.fixture
def bucket(s3: str) -> Iterator[str]:
    """A new bucket, as ``s3://name``; on a server that stays it is removed again."""
    if not OTHER:
        yield make_bucket(f"bucket{next(_numbers)}")
        return
    made = make_bucket(f"mlipstore-{token_hex(6)}")
    yield made
    remove_bucket(made)


@pytest.fixture(scope="session")
def featurized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with features, not to be changed."""
    folder = tmp_path_factory.mktemp("featurized")
    with plugins():
        repository = small_store(folder)
    assert isinstance(repository.path, Path)
    repository._repository.create_tag("v1", repository.at().id)
    return repository.path


@pytest.fixture
def fresh(featurized: Path, tmp_path: Path) -> Callable[..., Repository]:
    """Copies of that store, to be changed."""
    import shutil

    return lambda name="a.mlip": Repository.open(shutil.copytree(featurized, tmp_path / name))
