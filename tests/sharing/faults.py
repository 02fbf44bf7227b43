"""A proxy between a client and a server of ours that does what networks do."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

#: ``before``, ``after``: the connection ends before the server gets the request, or before its answer comes back.
KINDS = ("500", "503", "before", "after", "truncate", "slow")
_BODY = b'<?xml version="1.0"?><Error><Code>%s</Code><Message>now and then</Message></Error>'
_NAMES = {"500": b"InternalError", "503": b"SlowDown"}


class NowAndThen:
    """Some requests fail in some way; the next of the same kind to the same file does not, so that a retry succeeds."""

    def __init__(self, share: float, seed: str, kinds: tuple[str, ...] = KINDS) -> None:
        self.share, self.kinds = share, kinds
        self._random, self._lock = random.Random(seed), threading.Lock()
        self._failed: set[tuple[str, str]] = set()
        self.faults = 0

    def __call__(self, method: str, path: str) -> str | None:
        with self._lock:
            if (method, path) in self._failed:
                self._failed.discard((method, path))
                return None
            if self._random.random() >= self.share:
                return None
            self._failed.add((method, path))
            self.faults += 1
            return self._random.choice(self.kinds)


class Outage:
    """After so many requests, or from the ``first`` one about a file of that name, the server is gone."""

    def __init__(self, left: float) -> None:
        self.left = left
        self.first: str | None = None
        self._lock = threading.Lock()

    def __call__(self, method: str, path: str) -> str | None:
        with self._lock:
            self.left -= 1
            if self.first is not None and self.first in path:
                self.left = -1
            return None if self.left >= 0 else "before"


class Proxy(ThreadingHTTPServer):
    """Forwards to ``upstream``; ``fault(method, path)`` says what happens to a request, None for nothing."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.upstream = urlsplit(upstream).netloc
        self.fault: Callable[[str, str], str | None] = lambda method, path: None
        self.bytes = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


@contextmanager
def proxy(upstream: str) -> Iterator[Proxy]:
    server = Proxy(upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class _Forward(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes, and the second is not to wait for an answer
    server: Proxy

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _handle(self) -> None:
        length = self.headers.get("Content-Length")
        sent = self.rfile.read(int(length)) if length else b""
        if "chunked" in (self.headers.get("Transfer-Encoding") or ""):
            sent = self._chunked()
        fault = self.server.fault(self.command, self.path)
        if fault == "before":
            self._cut()
            return
        if fault in _NAMES:
            self._answer(int(fault), {"Content-Type": "application/xml"}, _BODY % _NAMES[fault])
            return
        there = http.client.HTTPConnection(self.server.upstream, timeout=300)
        headers = {
            k: v for k, v in self.headers.items() if k.lower() not in ("transfer-encoding", "connection", "expect")
        }
        try:
            there.request(self.command, self.path, sent or None, headers)
            response = there.getresponse()
            body = response.read()
        finally:
            there.close()
        self.server.bytes += len(body)
        if fault == "after":
            self._cut()
            return
        kept = {k: v for k, v in response.getheaders() if k.lower() not in ("transfer-encoding", "connection")}
        if fault == "truncate" and self.command == "GET" and body:
            self._answer(response.status, kept, body, half=True)
            self._cut()
            return
        self._answer(response.status, kept, body, slow=fault == "slow")

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _handle

    def _chunked(self) -> bytes:
        out = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            out += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return out

    def _answer(
        self, status: int, headers: dict[str, str], body: bytes, half: bool = False, slow: bool = False
    ) -> None:
        self.send_response_only(status)
        length = headers.get("Content-Length", str(len(body)))
        for name, value in headers.items():
            if name.lower() != "content-length":
                self.send_header(name, value)
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        pieces = [body[i : i + len(body) // 4 + 1] for i in range(0, len(body), len(body) // 4 + 1)] if slow else [body]
        for piece in pieces if not half else [body[: len(body) // 2]]:
            self.wfile.write(piece)
            self.wfile.flush()
            if slow:
                time.sleep(0.02)

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.close()
