"""How Icechunk reaches a place."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import icechunk

from . import Place, objects_at, place_of
from .gateway import BUCKET, PREFIX, Gateway
from .http import Web
from .s3 import Bucket


def storage_of(place: Place) -> icechunk.Storage:
    """Icechunk's storage for the store at ``place``."""
    if isinstance(place, Path):
        return icechunk.local_filesystem_storage(str(place))
    objects = objects_at(place)
    if isinstance(objects, Web):
        return icechunk.s3_storage(
            bucket=BUCKET, prefix=PREFIX, region="us-east-1", endpoint_url=Gateway.of(objects).url,
            allow_http=True, anonymous=True, force_path_style=True,
        )  # fmt: skip
    assert isinstance(objects, Bucket)
    endpoint = objects.endpoint
    return icechunk.s3_storage(
        bucket=place.host,
        prefix=place.path or None,
        region=endpoint.region,
        endpoint_url=endpoint.url,
        allow_http=endpoint.url is not None and endpoint.url.startswith("http:"),
        force_path_style=endpoint.url is not None,
        **({"get_credentials": Credentials(str(place))} if endpoint.signed else {"anonymous": True}),
    )


class Credentials:
    """Gives Icechunk the credentials when it asks; itself it holds none, so that it may be copied to a worker."""

    def __init__(self, place: str) -> None:
        self.place = place

    def __call__(self) -> Any:
        objects = objects_at(place_of(self.place))
        assert isinstance(objects, Bucket)
        found = objects.credentials
        now = found.get_frozen_credentials()
        # asked for again soon: botocore renews those that run out
        again = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=5)
        return icechunk.S3StaticCredentials(now.access_key, now.secret_key, now.token, again)


def configuration() -> icechunk.RepositoryConfig:
    """How Icechunk works for us.

    Metadata is compressed at level 1: there is a manifest per array, and level 3 clears 1 MB of memory for each. No
    manifest is read before it is needed: to find those that it would, Icechunk goes through all arrays of a version
    whenever one is opened.
    """
    out = icechunk.RepositoryConfig.default()
    out.compression = icechunk.CompressionConfig(level=1)
    never = icechunk.ManifestPreloadCondition.false()
    out.manifest = icechunk.ManifestConfig(icechunk.ManifestPreloadConfig(max_total_refs=0, preload_if=never))
    return out
