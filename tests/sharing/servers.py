"""Servers on 127.0.0.1 for tests: S3 (moto: ``python -m tests.sharing.servers``), and static web servers."""

from __future__ import annotations

import functools
import importlib.util
import io
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mlipstore import places

REGION, KEY, SECRET = "us-east-1", "AKIATESTTESTTESTTEST", "secretsecretsecret"
_KEY, _SECRET = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"
#: Address of another S3 server to test with (``make extended-radosgw``); credentials are those of the environment.
OTHER = os.environ.get("MLIPSTORE_S3")


@contextmanager
def s3_server() -> Iterator[str]:
    """Address of an S3 server that honours conditional writes; the environment points to it."""
    pytest.importorskip("botocore", reason="the S3 tests need botocore")
    with ExitStack() as stack:
        url = OTHER or stack.enter_context(_moto())
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        settings = s3_environment(url)
        if OTHER:
            settings |= {name: os.environ[name] for name in (_KEY, _SECRET)}
        for name in [n for n in os.environ if n.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in settings.items():
            patch.setenv(name, value)
        places._elsewhere.cache_clear()
        stack.callback(places._elsewhere.cache_clear)
        yield url


@contextmanager
def _moto() -> Iterator[str]:
    """Address of moto in a process of its own, so that it does not share the interpreter lock with its clients."""
    for module in ("moto", "werkzeug"):
        if importlib.util.find_spec(module) is None:
            pytest.skip("the S3 tests need moto[server]")
    words = [sys.executable, "-m", "tests.sharing.servers"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, cwd=Path(__file__).parents[2], stdin=pipe, stdout=pipe, text=True) as server:
        assert server.stdin is not None and server.stdout is not None
        with server.stdin:  # when this process ends, in whatever way, so does the server
            url = server.stdout.readline().strip()
            assert url, "the S3 server has not come up"
            yield url


def serve() -> None:
    """Run moto until standard input ends; its address is the first line on standard output."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Handler(WSGIRequestHandler):
        disable_nagle_algorithm = True  # head and body are two writes, and the second is not to wait for an answer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = _OneAtATime(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.read()


class _OneAtATime:
    """moto looks at the condition of a write and writes in two steps; real servers do both at once."""

    def __init__(self, app: Any) -> None:
        self.app, self._lock = app, threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ.get("CONTENT_LENGTH"):  # what a client sends slowly holds nobody else up
            environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        with self._lock:
            return [b"".join(self.app(environ, start_response))]


def secrets() -> tuple[str, str]:
    """The credentials of the environment, which nothing may write anywhere."""
    return os.environ[_KEY], os.environ[_SECRET]


def s3_environment(url: str) -> dict[str, str]:
    """What points the tools of AWS to a server of ours, and to no file of the user."""
    return {
        "AWS_ENDPOINT_URL": url,
        _KEY: KEY,
        _SECRET: SECRET,
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


def remove_bucket(address: str) -> None:
    """Remove a bucket with all that is in it."""
    import botocore.session

    client, name = botocore.session.get_session().create_client("s3"), address.removeprefix("s3://")
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
        for found in page.get("Contents", ()):
            client.delete_object(Bucket=name, Key=found["Key"])
    client.delete_bucket(Bucket=name)


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


if __name__ == "__main__":
    serve()
