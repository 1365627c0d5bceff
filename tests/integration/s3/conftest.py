"""A bucket as two processes see it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lumper.registry.storage.s3 import S3Storage
from parts.s3.s3_service import Bucket


@pytest.fixture
async def storage(bucket: Bucket) -> AsyncIterator[S3Storage]:
    opened = bucket.open()
    yield opened
    await opened.close()


@pytest.fixture
async def other(bucket: Bucket) -> AsyncIterator[S3Storage]:
    """The same bucket as another process sees it, or the same one after a restart."""
    opened = bucket.open()
    yield opened
    await opened.close()
