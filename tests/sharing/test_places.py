"""Stores on S3 and behind web servers: the same verbs, no commit lost, no credentials written."""

from __future__ import annotations

import http.client
import multiprocessing
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from mlipstore.errors import StoreError, StoreNotFoundError
from mlipstore.fit import fit
from mlipstore.places import Remote, objects_at, place_of
from mlipstore.places import http as places_http
from mlipstore.places import s3 as places_s3
from mlipstore.places.http import Web
from mlipstore.places.s3 import Bucket
from mlipstore.runs.runfile import Fit
from mlipstore.show import show
from mlipstore.store import Repository

from ..robustness.content import content, differences
from ..small_store import add, configurations, plugins
from .servers import OTHER, secrets, web_server


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("s3://key:secret@bucket/a", "credentials come from the environment"),
        ("https://me:pw@host/a", "credentials come from the environment"),
        ("htps://host/a", "Did you mean 'https'"),
        ("s3://", "names no bucket"),
        ("s3://bucket/../a", r"'\.\.'"),
        ("https://host/a?X-Amz-Signature=1234", "without it"),
        ("http://host:port/a", "no address"),
    ],
)
def test_addresses_that_are_refused(address: str, says: str) -> None:
    with pytest.raises(StoreError, match=says) as caught:
        Repository.open(address)
    assert not any(secret in str(caught.value) for secret in ("secret@", ":pw", "1234"))


def test_a_store_on_s3(bucket: str, tmp_path: Path) -> None:
    """Made, filled, featurized and fitted there; equal to the same in a folder."""
    place = f"{bucket}/group/a.mlip"
    with pytest.raises(StoreNotFoundError, match="no store at s3://"):
        Repository.open(place)
    with plugins():
        for made in (Repository.create(place), Repository.create(tmp_path / "b.mlip")):
            folder = tmp_path / f"data{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            add(made, folder, configurations(30, 1))
            fit(made, Fit())
        there, here = content(place), content(tmp_path / "b.mlip")
        assert differences(there, here) == []
        assert show(Repository.open(place))["path"] == place
    with pytest.raises(StoreError, match="is a store already"):
        Repository.create(place)
    with pytest.raises(StoreError, match="holds other files"):
        Repository.create(f"{bucket}/group")
    objects = objects_at(place_of(place))
    for found in objects.listing(""):
        data = objects.get(found.key)
        assert not any(secret.encode() in data for secret in secrets()), found.key
    assert "mlipstore.lock" not in {found.key for found in objects.listing("")}


def test_no_such_bucket(s3: str) -> None:
    with pytest.raises(StoreError, match="no bucket 'nowhere'"):
        Repository.open("s3://nowhere/a")
    with pytest.raises(StoreError, match="no bucket 'nowhere'"):
        Repository.create("s3://nowhere/a")


@pytest.fixture
def nobody() -> Iterator[str]:
    """Address of a port that nobody listens at, for as long as it is held."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


def test_no_s3_server(nobody: str, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that never answered is told after three tries to connect; one that has answered is asked more often."""
    from botocore.httpsession import URLLib3Session

    asked, send = [], URLLib3Session.send

    def counted(self: URLLib3Session, request: Any) -> Any:
        asked.append(request.url)
        return send(self, request)

    monkeypatch.setattr(URLLib3Session, "send", counted)
    monkeypatch.setattr(places_s3, "_FIRST_PAUSE", 0.0)
    monkeypatch.setattr(places_s3, "TRIES", 4)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{nobody}")
    with pytest.raises(StoreError, match=f"Nothing answers at http://{nobody}: check the network"):
        Bucket(Remote.parse("s3://some/a.mlip")).get("x")
    assert len(asked) == 3
    bucket = Bucket(Remote.parse("s3://some/a.mlip"))
    bucket._met = True
    with pytest.raises(StoreError, match="also when it is asked again"):
        bucket.get("x")
    assert len(asked) == 3 + 4


def test_settings_that_name_nothing(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "somewhere")
    with pytest.raises(StoreError, match="AWS_ENDPOINT_URL is written https"):
        Bucket(Remote.parse("s3://some/a.mlip"))
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StoreError, match=r"profile \(nobody\) could not be found\. Check AWS_PROFILE"):
        Bucket(Remote.parse("s3://some/a.mlip"))


def test_no_web_server(nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    connect = http.client.HTTPConnection.connect
    monkeypatch.setattr(http.client.HTTPConnection, "connect", lambda self: (asked.append(1), connect(self))[1])
    with pytest.raises(StoreError, match=r"the server cannot be reached \(Connection refused\). Check the address"):
        Repository.open(f"http://{nobody}/a.mlip")
    assert len(asked) == 3


def test_how_often_a_web_server_was_asked_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that will not change is not asked for again; one that may is."""
    monkeypatch.setattr(places_http.time, "sleep", lambda seconds: None)
    for status, tries in ((400, ""), (503, r", also after 5 tries")):
        monkeypatch.setattr(Web, "_once", lambda self, *words, status=status: (b"", {}, status))
        with pytest.raises(StoreError, match=rf"the server answers {status}{tries}\. What was stored"):
            Web(Remote.parse("http://localhost/a.mlip")).get("x")


def test_a_server_without_conditional_writes(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before anything is stored."""
    real = Bucket._put
    monkeypatch.setattr(Bucket, "_put", lambda self, key, data, **condition: real(self, key, data))
    with pytest.raises(StoreError, match="does not honour conditional writes"):
        Repository.create(f"{bucket}/a.mlip")
    assert list(objects_at(place_of(bucket)).listing("")) == []


def test_a_server_that_compares_tags_without_quotes(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ceph radosgw says 412 to every If-Match that is written as the standard has it."""
    if OTHER:
        pytest.skip("another server is as it is")
    real = Bucket._put

    def put(self: Bucket, key: str, data: bytes, **condition: str) -> None:
        if tag := condition.get("IfMatch"):
            if tag.startswith('"'):
                raise places_s3._Changed
            condition["IfMatch"] = f'"{tag}"'
        real(self, key, data, **condition)

    monkeypatch.setattr(Bucket, "_put", put)
    objects = objects_at(place_of(bucket))
    assert objects.create("a", b"1") and not objects.create("a", b"2")
    found = objects.versioned("a")
    assert found is not None and objects.replace("a", b"3", found[1]) and objects.get("a") == b"3"
    assert not objects.replace("a", b"4", found[1]) and objects.get("a") == b"3"


def _count(place: str, times: int) -> None:
    repository = Repository.open(place)
    for _ in range(times):
        with repository.transaction("count", {"verb": "test"}, exclusive=True) as tx:
            tx.root.attrs["counter"] = int(tx.root.attrs.get("counter", 0)) + 1


def test_no_commit_is_lost_on_s3(bucket: str) -> None:
    place = f"{bucket}/a.mlip"
    Repository.create(place)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_count, args=(place, 4)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    repository = Repository.open(place)
    assert repository.at().root.attrs["counter"] == 12
    assert len(repository.log()) == 12


def test_a_lock_of_a_process_that_died(bucket: str) -> None:
    """It is not waited for: here its machine tells, elsewhere it runs out."""
    import json

    place = f"{bucket}/a.mlip"
    Repository.create(place)
    from mlipstore.places import lock

    child = multiprocessing.get_context("spawn").Process(target=int)
    child.start()
    child.join()
    objects = objects_at(place_of(place))
    left = json.loads(lock._said({**lock.holder(), "pid": child.pid}))
    for other in (left, {**left, "machine": "elsewhere", "expires": 1.0}):
        objects.put(lock.LOCK_FILE, json.dumps(other).encode())
        _count(place, 1)
    assert Repository.open(place).at().root.attrs["counter"] == 2


def test_a_store_behind_a_web_server(fresh: Callable[..., Repository]) -> None:
    """Any static server: Python's has neither ranges nor entity tags."""
    store = fresh().path
    assert isinstance(store, Path)
    with web_server(store.parent) as url:
        place = f"{url}/{store.name}"
        for ref in ("main", "v1"):
            assert differences(content(place, ref), content(store, ref)) == []
        there = Repository.open(place)
        assert [c.id for c in there.log()] == [c.id for c in Repository.open(store).log()]
        with pytest.raises(StoreError, match="can only be read"), there.transaction("no", {}, exclusive=True):
            pass
        with pytest.raises(StoreNotFoundError, match=r"no store at .*/other\.mlip\. Check the address"):
            Repository.open(f"{url}/other.mlip")
        odd = shutil.copytree(store, store.parent / "our störe 1.mlip")
        for name in (odd.name, quote(odd.name)):  # as it is written, and as it is copied from a browser
            place = place_of(f"{url}/{name}")
            assert Repository.open(str(place)).find() == there.find() and place.name == odd.name


def test_a_web_server_that_lists_nothing(fresh: Callable[..., Repository], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner publishes the names of branches and tags; without that there is main."""
    from .servers import _Quiet

    class Closed(_Quiet):
        def list_directory(self, path: str) -> None:  # type: ignore[override]
            self.send_error(403)

    store = fresh().path
    assert isinstance(store, Path)
    with web_server(store.parent, Closed) as url:
        place = f"{url}/{store.name}"
        assert differences(content(place), content(store)) == []
