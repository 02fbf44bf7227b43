"""Servers on 127.0.0.1 for tests: S3 (moto), and static web servers."""

from __future__ import annotations

import functools
import io
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

REGION, KEY, SECRET = "us-east-1", "AKIATESTTESTTESTTEST", "secretsecretsecret"


@contextmanager
def s3_server() -> Iterator[str]:
    """Address of an S3 server that honours conditional writes; the environment points to it."""
    server_module = pytest.importorskip("moto.server", reason="the S3 tests need moto[server]")
    pytest.importorskip("botocore", reason="the S3 tests need botocore")
    from werkzeug.serving import make_server

    from mlipstore import places

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = server_module.DomainDispatcherApplication(server_module.create_backend_app)
    server = make_server("127.0.0.1", 0, _OneAtATime(app), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in s3_environment(url).items():
            patch.setenv(name, value)
        places._elsewhere.cache_clear()
        yield url
    places._elsewhere.cache_clear()
    server.shutdown()


class _OneAtATime:
    """moto looks at the condition of a write and writes in two steps; real servers do both at once."""

    def __init__(self, app: Any) -> None:
        self.app, self._lock = app, threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ.get("CONTENT_LENGTH"):  # what a client sends slowly holds nobody else up
            environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        with self._lock:
            return [b"".join(self.app(environ, start_response))]


def s3_environment(url: str) -> dict[str, str]:
    """What points the tools of AWS to a server of ours, and to no file of the user."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def make_bucket(name: str) -> str:
    """A new bucket on the server of the environment."""
    import botocore.session

    client = botocore.session.get_session().create_client("s3")
    client.create_bucket(Bucket=name)
    return f"s3://{name}"


class _Quiet(SimpleHTTPRequestHandler):
    wbufsize = -1

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def web_server(folder: Path, handler: type[SimpleHTTPRequestHandler] = _Quiet) -> Iterator[str]:
    """Address of Python's own static server: no ranges, no entity tags, listings as pages."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
