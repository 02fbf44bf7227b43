"""A bucket of an S3 server. Credentials, region and endpoint are found as the AWS tools find them.

Environment (``AWS_ACCESS_KEY_ID``, ``AWS_PROFILE``, ``AWS_ENDPOINT_URL``, ...), profile files, single sign-on and
instance roles. They stay in memory: nothing of them is written or printed. Without any, requests are not signed.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import MissingDependencyError, StoreError
from .objects import Info, ObjectMissing, Objects
from .remote import Remote

#: Requests at once.
_PARALLEL = 16
#: How often a request is made until it succeeds; Icechunk asks ten times, for 25 s, which cannot be changed.
TRIES = 6
#: Seconds until a connection is there, and until an answer comes.
_CONNECT, _ANSWER = 5, 60
#: A server that never answered yet may not exist at all: it is given up on after so many tries to connect, with
#: pauses of so many seconds between. One that has answered is waited for.
_FIRST_TRIES, _FIRST_PAUSE = 3, 0.5
#: A server that could not be reached is asked only once, and not waited for, for so many seconds: what is left to do
#: then is to take back locks and leases, and to say so.
_GONE = 30.0


@dataclass(frozen=True)
class Endpoint:
    """How to reach a bucket, without credentials."""

    region: str
    url: str | None
    signed: bool


class Bucket(Objects):
    """The files below a prefix of a bucket."""

    parallel = _PARALLEL

    def __init__(self, address: Remote) -> None:
        try:
            import botocore.session
        except ImportError:
            raise MissingDependencyError(
                "stores on S3 need the package botocore: pip install 'mlipstore[s3]'"
            ) from None
        from botocore.exceptions import BotoCoreError

        self.address = address
        self._session = botocore.session.get_session()
        self._probed = False
        self._gone = -_GONE
        self._met = False
        try:
            self.credentials = self._session.get_credentials()
            self._client = self._connect(TRIES, _CONNECT, _ANSWER)
            self.endpoint = self._endpoint()
        except BotoCoreError as error:
            raise self._translate(error, "connecting") from error
        except ValueError as error:  # of an address of a server that is none
            raise StoreError(f"{address}: {error}. AWS_ENDPOINT_URL is written https://s3.example.org.") from None

    @cached_property
    def _hasty(self) -> Any:
        return self._connect(1, 2, 5)

    @cached_property
    def _first(self) -> Any:
        return self._connect(1, 3, _ANSWER)

    def _connect(self, tries: int, connect: float, answer: float) -> Any:
        import botocore
        from botocore.config import Config

        config = Config(
            retries={"mode": "standard", "total_max_attempts": tries},
            connect_timeout=connect,
            read_timeout=answer,
            max_pool_connections=2 * _PARALLEL,
            # checksums of AWS's own kind are not known to every server; Content-MD5 is
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            **({} if self.credentials else {"signature_version": botocore.UNSIGNED}),
        )
        region = self._session.get_config_variable("region") or "us-east-1"
        client = self._session.create_client("s3", region_name=region, config=config)
        if not client.meta.endpoint_url.endswith("amazonaws.com"):  # another server: bucket names are no host names
            own = config.merge(Config(s3={"addressing_style": "path"}))
            client = self._session.create_client("s3", region_name=region, config=own)
        return client

    def _endpoint(self) -> Endpoint:
        url = self._client.meta.endpoint_url
        if not url.endswith("amazonaws.com"):
            return Endpoint(self._client.meta.region_name, url, self.credentials is not None)
        from botocore.exceptions import ClientError

        try:  # a bucket lies in one region, which need not be the one that is set
            said = self._answer("head_bucket")["ResponseMetadata"]["HTTPHeaders"]
        except ClientError as error:
            said = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        region = said.get("x-amz-bucket-region", self._client.meta.region_name)
        return Endpoint(region, None, self.credentials is not None)

    # ---------------------------------------------------------------- requests
    def _answer(self, operation: str, **parameters: Any) -> Any:
        """What the server answers: asked patiently once anything came from it, before that only to connect."""
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.exceptions import ConnectionError as NoConnection

        def ask(client: Any) -> Any:
            return getattr(client, operation)(Bucket=self.address.host, **parameters)

        if time.monotonic() - self._gone < _GONE:
            return ask(self._hasty)
        for left in reversed(range(_FIRST_TRIES)):
            if self._met:
                break
            try:
                answer = ask(self._first)
            except NoConnection:
                if not left:
                    raise
                time.sleep(_FIRST_PAUSE)
            except (BotoCoreError, ClientError):
                self._met = True  # somebody is there, whatever is the matter
            else:
                self._met = True
                return answer
        return ask(self._client)

    def _ask(self, operation: str, key: str, **parameters: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._answer(operation, **parameters)
            self._gone = -_GONE
            return answer
        except ClientError as error:
            code = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            self._gone = time.monotonic() if code >= 500 else -_GONE
            name = error.response.get("Error", {}).get("Code", "")
            if name == "NoSuchBucket":
                raise StoreError(f"{self.address}: there is no bucket {self.address.host!r}. Make it first.") from None
            if code == 404:
                raise ObjectMissing(f"{self.address}: the file {key} is missing.") from None
            if code in (409, 412):
                raise _Changed from None
            raise self._translate(error, key) from None
        except BotoCoreError as error:
            self._gone = time.monotonic()
            raise self._translate(error, key) from None

    def _translate(self, error: Exception, what: str) -> StoreError:
        from botocore.exceptions import BotoCoreError, HTTPClientError
        from botocore.exceptions import ConnectionError as NoConnection

        response = getattr(error, "response", None) or {}
        code = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        name = response.get("Error", {}).get("Code", "") or type(error).__name__
        if code in (401, 403) or "Credential" in name or "Token" in name:
            have = "" if getattr(self, "credentials", None) else " No credentials were found."
            return StoreError(
                f"{self.address}: access denied ({name}).{have} Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, and AWS_ENDPOINT_URL for a server that is not Amazon's."
            )
        said = f"the server answers {code} {name}" if code else f"the server cannot be reached ({name})"
        if isinstance(error, BotoCoreError) and not isinstance(error, (NoConnection, HTTPClientError)):
            return StoreError(f"{self.address}: {error}. Check AWS_PROFILE and the files below ~/.aws.")
        if not self._met and isinstance(error, NoConnection):
            return StoreError(
                f"{self.address}: {said}. Nothing answers at {self._client.meta.endpoint_url}: check the network, and "
                "AWS_ENDPOINT_URL for a server that is not Amazon's."
            )
        return StoreError(
            f"{self.address}: {what}: {said}, also when it is asked again. What was stored before is whole; run "
            "the same command again."
        )

    def _name(self, key: str) -> str:
        return f"{self.address.path}/{key}".lstrip("/")

    def get(self, key: str) -> bytes:
        return self._read(key)[0]

    def versioned(self, key: str) -> tuple[bytes, str] | None:
        try:
            return self._read(key)
        except ObjectMissing:
            return None

    def _read(self, key: str) -> tuple[bytes, str]:
        from botocore.exceptions import BotoCoreError
        from urllib3.exceptions import HTTPError

        for left in reversed(range(TRIES)):
            try:
                found = self._ask("get_object", key, Key=self._name(key))
                data: bytes = found["Body"].read()  # a body that ends early raises
                return data, str(found["ETag"])
            except (BotoCoreError, HTTPError, OSError) as error:
                if isinstance(error, StoreError):
                    raise
                if not left:
                    raise self._translate(error, key) from None
        raise AssertionError("unreachable")

    def size(self, key: str) -> int | None:
        try:
            return int(self._ask("head_object", key, Key=self._name(key))["ContentLength"])
        except ObjectMissing:
            return None

    def listing(self, prefix: str) -> Iterator[Info]:
        above = len(self._name(""))
        token: dict[str, str] = {}
        while True:
            page = self._ask("list_objects_v2", prefix, Prefix=self._name(prefix), **token)
            for entry in page.get("Contents", ()):
                yield Info(entry["Key"][above:], entry["Size"], entry["LastModified"].timestamp())
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def put(self, key: str, data: bytes) -> None:
        self._put(key, data)

    def create(self, key: str, data: bytes) -> bool:
        return self._put_if(key, data, IfNoneMatch="*")

    def replace(self, key: str, data: bytes, version: str) -> bool:
        if self._put_if(key, data, IfMatch=version):
            return True
        bare = version.strip('"')
        if self.endpoint.url is None or bare == version:
            return False
        # Ceph compares it with the entity tag without the quotes that belong to it (RFC 9110, 8.8.3), so never finds it
        with suppress(StoreError):
            return self._put_if(key, data, IfMatch=bare)
        return False

    def _put_if(self, key: str, data: bytes, **condition: str) -> bool:
        """A conditional write. An answer that was lost may have been a success: then our bytes are there."""
        try:
            self._put(key, data, **condition)
        except (_Changed, ObjectMissing):
            found = self.versioned(key)
            return found is not None and found[0] == data
        return True

    def _put(self, key: str, data: bytes, **condition: str) -> None:
        digest = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        self._ask("put_object", key, Key=self._name(key), Body=data, ContentMD5=digest, **condition)

    def delete(self, key: str) -> None:
        self._ask("delete_object", key, Key=self._name(key))

    # ------------------------------------------------------------------- probe
    def require_safe_writes(self) -> None:
        """Refuse a server that overwrites where it was asked not to: writers would lose each other's commits.

        :raises StoreError: it does
        """
        if self._probed:
            return
        key = f"mlipstore-probe-{secrets.token_hex(8)}"
        try:
            self._put(key, b"1")
            refused = []
            for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"00000000000000000000000000000000"'}):
                try:
                    self._put(key, b"2", **condition)
                except _Changed:
                    refused.append(condition)
        finally:
            self.delete(key)
        if len(refused) < 2:
            raise StoreError(
                f"{self.address}: this server does not honour conditional writes (If-None-Match, If-Match), so that "
                "two writers would lose each other's commits. Nothing was stored. Use another server (Amazon S3 or "
                "Ceph radosgw), or a folder."
            )
        self._probed = True


class _Changed(Exception):
    """The condition of a write does not hold."""
