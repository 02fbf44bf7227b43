"""A static web server as Icechunk can read it: a small S3 server of this process, for this process alone.

Icechunk 1 reads local folders and S3. What it asks for is fetched from the web server; listings, entity tags, ranges
and the XML answer for a missing file, which static servers lack in part, are made here.
"""

from __future__ import annotations

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from ..errors import StoreError
from .http import Web
from .objects import ObjectMissing

BUCKET, PREFIX = "web", "store"
_running: dict[str, Gateway] = {}
_lock = threading.Lock()


class Gateway:
    """Serves one address on a port of this machine as long as the process runs."""

    def __init__(self, web: Web) -> None:
        self.web = web
        #: The last thing that went wrong, which the S3 protocol has no words for.
        self.problem: StoreError | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"gateway": self}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @classmethod
    def of(cls, web: Web) -> Gateway:
        """One per address and process."""
        with _lock:
            name = str(web.address)
            if name not in _running:
                _running[name] = cls(web)
            return _running[name]


def what_was_said(address: str) -> StoreError | None:
    """What is the matter with the web server at an address, for a request that was answered ``AccessDenied`` here."""
    with _lock:
        running = _running.get(address)
    return None if running is None else running.problem


class _Handler(BaseHTTPRequestHandler):
    """``GET`` and ``HEAD`` of files and ``ListObjectsV2``."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm, wbufsize = True, -1  # head and body at once
    gateway: Gateway

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the standard output is the user's."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        try:
            if "list-type" in query:
                self._answer(200, self._listing(query), "application/xml")
                return
            key = unquote(parts.path).removeprefix(f"/{BUCKET}/{PREFIX}/")
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if asked and asked[2]:
                data, total = self.gateway.web.read_range(key, int(asked[1]), int(asked[2]) + 1)
                end = int(asked[1]) + len(data) - 1
                self._answer(206, data, "", {"Content-Range": f"bytes {asked[1]}-{end}/{total}"})
                return
            data = self.gateway.web.get(key)
            if asked:
                start = int(asked[1])
                self._answer(206, data[start:], "", {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"})
            else:
                self._answer(200, data)
        except ObjectMissing:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>", "application/xml")
        except StoreError as error:
            self.gateway.problem = error
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>", "application/xml")

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(403, b"<Error><Code>AccessDenied</Code></Error>", "application/xml")

    do_POST = do_DELETE = do_PUT

    def _listing(self, query: dict[str, list[str]]) -> bytes:
        prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        files, folders = [], set()
        for info in self.gateway.web.listing(prefix.removeprefix(f"{PREFIX}/")):
            key = f"{PREFIX}/{info.key}"
            if not key.startswith(prefix):
                continue
            rest = key[len(prefix) :]
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
            else:
                files.append(key)
        entries = "".join(
            f"<Contents><Key>{escape(k)}</Key><LastModified>2020-01-01T00:00:00.000Z</LastModified>"
            "<Size>0</Size></Contents>" for k in files
        )  # fmt: skip
        entries += "".join(f"<CommonPrefixes><Prefix>{escape(f)}</Prefix></CommonPrefixes>" for f in sorted(folders))
        return (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{BUCKET}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(files) + len(folders)}</KeyCount>"
            f"<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
        ).encode()

    def _answer(self, status: int, data: bytes, kind: str = "", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind or "application/octet-stream")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Last-Modified", "Wed, 01 Jan 2020 00:00:00 GMT")
        self.send_header("ETag", f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"')
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
