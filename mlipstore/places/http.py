"""A static web server, to read from. Any will do: ranges and listings are used where it has them, not needed."""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections.abc import Iterator
from urllib.parse import quote, unquote, urljoin, urlsplit

from ..errors import StoreError
from .objects import Info, ObjectMissing, Objects
from .remote import Remote

_TRIES, _TIMEOUT, _REDIRECTS = 5, 60, 5
#: Seconds until a connection is there; how often one is tried with a server that never answered, and the pause between.
_CONNECT, _FIRST_TRIES, _FIRST_PAUSE = 5, 3, 0.5
#: A server that was found gone is asked only once, and not waited for, for so many seconds: others wait for it as well.
_GONE = 30.0
#: Larger than any file of a store; a server that never ends is refused.
_LARGEST = 8 << 30
#: What stays in the path of a request: an address may be escaped already, or have spaces and letters such as ü.
_AS_IT_IS = "/%:@!$&'()*+,;=~"
#: Branches and tags, for servers that list nothing.
REF_LIST = "refs.json"


class Web(Objects):
    """The files below an address."""

    writable = False
    parallel = 8

    def __init__(self, address: Remote) -> None:
        self.address = address
        self._here = threading.local()
        self._met = False
        self._gone = -_GONE

    def get(self, key: str) -> bytes:
        return self._request("GET", key)[0]

    def size(self, key: str) -> int | None:
        try:
            length = self._request("HEAD", key)[1].get("content-length")
        except ObjectMissing:
            return None
        return None if length is None else int(length)

    def read_range(self, key: str, start: int, stop: int) -> tuple[bytes, int]:
        """Bytes ``start:stop`` and the size of the whole file."""
        data, headers, status = self._request("GET", key, {"Range": f"bytes={start}-{stop - 1}"})
        if status != 206:
            return data[start:stop], len(data)
        total = headers.get("content-range", "").rpartition("/")[2]
        if not total.isdigit():
            raise StoreError(f"{self.address}: {key}: the server answers a range without its size.")
        return data, int(total)

    def listing(self, prefix: str) -> Iterator[Info]:
        """References of the store; other files only where they are in a listing that the server makes."""
        names = self._listed_refs() if prefix.startswith("refs/") else None
        for key in names if names is not None else self._index_page(prefix):
            yield Info(key, 0, 0.0)

    def _listed_refs(self) -> list[str] | None:
        try:
            said = json.loads(self.get(REF_LIST))
            return [f"refs/{name}/ref.json" for name in said["refs"] if isinstance(name, str)]
        except (ObjectMissing, ValueError, KeyError, TypeError):
            folders = [k for k in self._index_page("refs/") if k.endswith("/")]
            return [f"{k}ref.json" for k in folders] or ["refs/branch.main/ref.json"]

    def _index_page(self, prefix: str) -> list[str]:
        """Names that an automatic index page links to."""
        try:
            page = self.get(prefix).decode("utf-8", "replace")
        except StoreError:  # missing, or not allowed
            return []
        links = {unquote(m) for m in re.findall(r'href="([^"?#]+)"', page)}
        return sorted(f"{prefix}{n}" for n in links if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*/?", n))

    def versioned(self, key: str) -> tuple[bytes, str] | None:
        try:
            return self.get(key), ""
        except ObjectMissing:
            return None

    def _refuse(self) -> StoreError:
        return StoreError(f"{self.address} is a web server, which can only be read. Push to a folder or s3:// instead.")

    def require_safe_writes(self) -> None:
        raise self._refuse()

    def put(self, key: str, data: bytes) -> None:
        raise self._refuse()

    def create(self, key: str, data: bytes) -> bool:
        raise self._refuse()

    def replace(self, key: str, data: bytes, version: str) -> bool:
        raise self._refuse()

    def delete(self, key: str) -> None:
        raise self._refuse()

    # ---------------------------------------------------------------- requests
    def _request(
        self, method: str, key: str, headers: dict[str, str] | None = None
    ) -> tuple[bytes, dict[str, str], int]:
        """Body, headers and status; what is worth another try is tried again."""
        reason = ""
        tries = 1 if time.monotonic() - self._gone < _GONE else _TRIES
        for attempt in range(tries):
            if attempt:
                time.sleep(min(4.0, 0.1 * 3**attempt) if self._met else _FIRST_PAUSE)
            try:
                data, said, status = self._once(method, f"{self.address}/{quote(key)}", headers or {})
            except _NoConnection as error:
                reason = str(error)
                if not self._met and attempt + 1 >= _FIRST_TRIES:
                    raise StoreError(
                        f"{self.address}: the server cannot be reached ({reason}). Check the address and the network."
                    ) from None
                continue
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, StoreError):
                    raise
                self._close()
                reason = str(error) or type(error).__name__
                continue
            self._gone = -_GONE
            if status in (200, 206):
                return data, said, status
            if status in (404, 410):
                raise ObjectMissing(f"{self.address}: the file {key} is missing.")
            if status in (401, 403):
                raise StoreError(f"{self.address}: access denied ({status}). Ask its owner for another address.")
            reason = f"the server answers {status}"
            if status not in (408, 425, 429) and status < 500:
                break
        else:
            self._gone = time.monotonic()
        again = f", also after {attempt + 1} tries" if attempt else ""
        raise StoreError(
            f"{self.address}: {key}: {reason}{again}. What was stored before is whole; run the same command again."
        )

    def _once(self, method: str, url: str, headers: dict[str, str]) -> tuple[bytes, dict[str, str], int]:
        for _ in range(_REDIRECTS):
            parts = urlsplit(url)
            connection = self._connection(parts.scheme, parts.netloc)
            target = quote(parts.path or "/", _AS_IT_IS) + (f"?{parts.query}" if parts.query else "")
            connection.request(method, target, headers={"User-Agent": "mlipstore", **headers})
            answer = connection.getresponse()
            said = {k.lower(): v for k, v in answer.getheaders()}
            data = answer.read(_LARGEST)
            expected = said.get("content-length")
            if method == "GET" and expected is not None and expected.isdigit() and len(data) != int(expected):
                raise http.client.IncompleteRead(data, int(expected) - len(data))
            if said.get("connection", "").lower() == "close":
                self._close()
            if answer.status not in (301, 302, 303, 307, 308) or "location" not in said:
                return data, said, answer.status
            to = urljoin(url, said["location"])
            if urlsplit(to).scheme not in ("http", "https") or (parts.scheme == "https" and to.startswith("http:")):
                raise StoreError(f"{self.address}: the server sends us on to another kind of address. Give that one.")
            url = to
        raise StoreError(f"{self.address}: the server sends us from one address to the next.")

    def _connection(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        """The connection of this thread, which stays open."""
        have: tuple[str, http.client.HTTPConnection] | None = getattr(self._here, "connection", None)
        if have is None or have[0] != f"{scheme}://{netloc}":
            self._close()
            kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
            connection = kind(netloc, timeout=_CONNECT)
            try:
                connection.connect()
            except OSError as error:
                raise _NoConnection(error.strerror or str(error) or type(error).__name__) from None
            connection.timeout = _TIMEOUT
            connection.sock.settimeout(_TIMEOUT)
            self._met = True
            have = f"{scheme}://{netloc}", connection
            self._here.connection = have
        return have[1]

    def _close(self) -> None:
        have = getattr(self._here, "connection", None)
        if have is not None:
            have[1].close()
            self._here.connection = None


class _NoConnection(Exception):
    """Nobody is there, or the name is unknown."""
