"""Addresses of stores that are not folders. They never carry credentials."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from ..errors import StoreError, nearest

_SCHEMES = ("s3", "http", "https")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")


@dataclass(frozen=True)
class Remote:
    """``s3://bucket/prefix`` or ``http(s)://host/path``."""

    scheme: str
    host: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Remote:
        """:raises StoreError: another scheme, credentials in it, or no bucket or host"""
        scheme, _, rest = text.partition("://")
        if scheme not in _SCHEMES:
            raise StoreError(
                f"stores are not reached by {scheme}://. {nearest(scheme, _SCHEMES)}"
                "Give a folder, s3://bucket/prefix, or https://host/path."
            )
        if "@" in rest.partition("/")[0]:  # the text is not repeated: a password is in it
            raise StoreError(
                f"the {scheme}:// address has a user name or password in it. Leave it out: credentials come from the "
                "environment (AWS_ACCESS_KEY_ID, ...) or the profile files of AWS, see docs/sharing.md."
            )
        try:
            parts = urlsplit(text)
            host, _ = parts.netloc, parts.port
        except ValueError:
            raise StoreError(f"{text} is no address. Write s3://bucket/prefix or https://host/path.") from None
        if parts.query or parts.fragment:  # a signature may be in it
            raise StoreError(f"{scheme}://{host}{parts.path} has a ? or # after it. Give the address without it.")
        path = parts.path.strip("/")
        if ".." in path.split("/"):
            raise StoreError(f"{text} has '..' in it. Write the address out.")
        if not host or (scheme == "s3" and not _BUCKET.fullmatch(host)):
            raise StoreError(f"{text} names no bucket or host. Write s3://bucket/prefix or https://host/path.")
        return cls(scheme, host, path)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}/{self.path}".rstrip("/")

    def __fspath__(self) -> str:
        return str(self)

    @property
    def name(self) -> str:
        """The last part, which a clone is called by."""
        path = self.path if self.scheme == "s3" else unquote(self.path)
        return PurePosixPath(path).name or self.host

    def absolute(self) -> Remote:
        """Itself, as a folder would give its full path."""
        return self
