"""A store behind nginx, as docs/sharing.md says: no special rules. Skipped where there is none (or MLIPSTORE_NGINX)."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlipstore.errors import StoreError
from mlipstore.sharing.remote import clone, pull, push
from mlipstore.store import Repository

from ..robustness.content import content, differences
from ..small_store import add, configurations, plugins

NGINX = os.environ.get("MLIPSTORE_NGINX") or shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="there is no nginx: apt install nginx-light, or MLIPSTORE_NGINX")

_CONFIGURATION = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
{user}
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


@contextmanager
def nginx(root: Path, folder: Path) -> Iterator[str]:
    """Address of nginx with a folder below it. It is handed a socket that is open, so that no port is guessed."""
    assert NGINX is not None
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port, number = listening.getsockname()[1], listening.fileno()
        user = "user root;" if os.geteuid() == 0 else ""
        settings = folder / "nginx.conf"
        settings.write_text(_CONFIGURATION.format(folder=folder, port=port, root=root, user=user))
        server = subprocess.Popen(
            [NGINX, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(settings)],
            pass_fds=(number,), env={**os.environ, "NGINX": f"{number};"}, stderr=subprocess.PIPE,
        )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
        assert server.poll() is None, (folder / "error.log").read_text()
    finally:
        server.terminate()
        server.communicate(timeout=600)


def test_clone_and_pull_from_nginx(fresh: Callable[..., Repository], tmp_path: Path) -> None:
    store, served = fresh(), tmp_path / "served" / "b.mlip"
    clone(store.path, served)
    (tmp_path / "more").mkdir()
    with nginx(served.parent, tmp_path / "nginx") as url:
        place = f"{url}/{served.name}"
        assert differences(content(place, "v1"), content(store.path, "v1")) == []
        clone(place, tmp_path / "copy.mlip")
        assert differences(content(tmp_path / "copy.mlip"), content(store.path)) == []
        with plugins():
            add(store, tmp_path / "more", configurations(6, 5))
        store.tag("v2")
        push(store.path, str(served))
        assert pull(tmp_path / "copy.mlip").refs == ["main", "v2"]
        assert differences(content(tmp_path / "copy.mlip"), content(store.path)) == []
        with pytest.raises(StoreError, match="can only be read"):
            push(tmp_path / "copy.mlip", place)
