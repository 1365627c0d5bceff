"""An S3 service for tests: moto's, or a real one that the environment names."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from lumper.registry.storage.s3 import Bucket as Address
from lumper.registry.storage.s3 import Credentials, S3Storage
from lumper.registry.storage.s3.bucket import SILENCE
from lumper.registry.storage.s3.signature import signed

_SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Bucket:
    """An empty bucket."""

    endpoint: str
    name: str
    access_key_id: str
    secret_access_key: str

    @property
    def credentials(self) -> Credentials:
        """Its key, for the region where it is."""
        return Credentials(self.access_key_id, self.secret_access_key, "us-east-1")

    def open(self, *, redirect: bool = True, silence: float = SILENCE) -> S3Storage:
        """A storage over it; there may be several."""
        bucket = Address.at(f"s3://{self.name}/images/here", self.endpoint, self.credentials)
        return S3Storage(replace(bucket, silence=silence), redirect=redirect)

    def request(self, method: str, path: str = "", query: str = "", body: bytes = b"") -> str:
        """Make a signed request about the bucket, or an object in it; the answer."""
        host = self.endpoint.partition("://")[2]
        path = f"/{self.name}{path}"
        headers = signed(self.credentials, method, host, path, query, sha256(body).hexdigest(), datetime.now(UTC))
        url = f"{self.endpoint}{path}?{query}"
        headers["content-type"] = "application/octet-stream"  # or else moto takes it for a form
        request = urllib.request.Request(url, method=method, headers=headers, data=body or None)
        with urllib.request.urlopen(request, timeout=60) as response:
            return str(response.read().decode())

    def objects(self) -> list[str]:
        """The keys of all its objects, at most a thousand."""
        listing = self.request("GET", query="list-type=2")
        return [part.partition("</Key>")[0] for part in listing.split("<Key>")[1:]]

    def unfinished(self) -> int:
        """How many multipart uploads it has, at most a thousand."""
        return self.request("GET", query="uploads=").count("<UploadId>")


@dataclass(frozen=True)
class S3Service:
    """A service that makes buckets."""

    endpoint: str
    access_key_id: str
    secret_access_key: str

    def bucket(self) -> Bucket:
        """A new one."""
        made = Bucket(self.endpoint, f"b-{secrets.token_hex(6)}", self.access_key_id, self.secret_access_key)
        made.request("PUT")
        return made


@contextmanager
def s3_service() -> Iterator[S3Service]:
    """moto in a process of its own, or the service at LUMPER_TEST_S3 with the keys in LUMPER_TEST_S3_KEYS (ID:SECRET).

    moto takes any secret, so it tells nothing about signatures.
    """
    if "LUMPER_TEST_S3" in os.environ:
        key, _, secret = os.environ["LUMPER_TEST_S3_KEYS"].partition(":")
        yield S3Service(os.environ["LUMPER_TEST_S3"], key, secret)
        return
    environment = {**os.environ, "MOTO_S3_DEFAULT_KEY_BUFFER_SIZE": str(64 << 10)}
    command = [sys.executable, "-W", "ignore", "-c", _SERVER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True
    ) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            yield S3Service(f"http://127.0.0.1:{port}", "test", "secret")
        finally:
            server.kill()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Service]:
    """A running service for the whole test run."""
    with s3_service() as running:
        yield running


@pytest.fixture
def bucket(s3: S3Service) -> Bucket:
    """An empty bucket of that service."""
    return s3.bucket()
