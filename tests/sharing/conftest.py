"""What all tests of this folder need."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlipstore.store import Repository

from ..small_store import plugins, small_store
from .servers import make_bucket, s3_server

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """Address of an S3 server; the environment points to it."""
    with s3_server() as url:
        yield url


@pytest.fixture
def bucket(s3: str) -> str:
    """A new bucket, as ``s3://name``."""
    return make_bucket(f"bucket{next(_numbers)}")


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
