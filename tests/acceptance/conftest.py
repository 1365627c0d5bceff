"""A forge, a server, and a project on its way between them. Files that need other ones have their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from parts.git.forge import Forge, serve_forge
from parts.line.line import Line, line_of
from parts.processes.lumper_process import LumperServer


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    with serve_forge(tmp_path_factory.mktemp("forge")) as running:
        yield running


@pytest.fixture(scope="module")
def lumper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LumperServer]:
    with LumperServer(tmp_path_factory.mktemp("lumper") / "data") as running:
        yield running


@pytest.fixture
def line(lumper: LumperServer, forge: Forge) -> Iterator[Line]:
    with line_of(lumper, forge) as made:
        yield made
