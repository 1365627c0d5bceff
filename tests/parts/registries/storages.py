"""The storages that have to pass the same suites."""

from __future__ import annotations

from pathlib import Path

import pytest

from lumper.registry.port import Storage
from lumper.registry.storage.filesystem import FilesystemStorage
from lumper.registry.storage.memory import MemoryStorage
from parts.s3.s3_service import Bucket


def filesystem(request: pytest.FixtureRequest) -> Storage:
    folder: Path = request.getfixturevalue("tmp_path")
    return FilesystemStorage(folder / "registry")


def memory(_request: pytest.FixtureRequest) -> Storage:
    return MemoryStorage()


def s3(request: pytest.FixtureRequest) -> Storage:
    bucket: Bucket = request.getfixturevalue("bucket")
    return bucket.open()
