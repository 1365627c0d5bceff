"""The registry's metadata and storages of each kind, for the suites that all kinds have to pass."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from lumper.registry.port import Metadata, Storage
from parts.registries.known_metadata import KINDS, Known
from parts.registries.storages import filesystem, memory, s3


@pytest.fixture(params=KINDS, ids=lambda make: make.__name__)
async def known(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Known]:
    make: Callable[[Path, pytest.FixtureRequest], AbstractAsyncContextManager[Known]] = request.param
    async with make(tmp_path, request) as made:
        yield made


@pytest.fixture
def metadata(known: Known) -> Metadata:
    return known.metadata


@pytest.fixture(params=[filesystem, memory, s3], ids=lambda make: make.__name__)
async def storage(request: pytest.FixtureRequest) -> AsyncIterator[Storage]:
    make: Callable[[pytest.FixtureRequest], Storage] = request.param
    made = make(request)
    yield made
    await made.close()
