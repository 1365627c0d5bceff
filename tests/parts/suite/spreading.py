"""How the tests are spread over processes: file by file, so that what the tests of a file share is made once.

`scripts/test` runs pytest-xdist with two processes; a plain `pytest` is one. All tests may run beside one another,
since names, ports and folders are a test's own. What is together here only saves starting the same daemon twice.
"""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler.loadscope import LoadScopeScheduling

_RABBITMQ = (
    "acceptance/test_separate_roles.py",
    "contract/test_queue_contract.py",
    "integration/line/test_queue_rabbitmq.py",
    "integration/line/test_queue_survival.py",
    "integration/line/test_several_servers.py",
)
_ENGINES = ("contract/test_engine_contract.py", "contract/test_engine_capabilities.py")
_NEWER = ("newer engine", "buildkitd", "buildx")
"""The engines whose benches start a newer Docker Engine."""


def together(nodeid: str) -> str:
    """What is the same for tests that have to run in the same process."""
    file, _, name = nodeid.partition("::")
    if file.endswith(_RABBITMQ):
        return "rabbitmq"
    if file.endswith(_ENGINES):
        engine = name.rpartition("[")[2]
        return "newer engine" if engine.startswith(_NEWER) else f"{file} {engine.partition('-')[0]}"
    return file


class Spreading(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    def _split_scope(self, nodeid: str) -> str:
        return together(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Spreading:
    """The hook of xdist that chooses: https://pytest-xdist.readthedocs.io/en/stable/distribution.html"""
    return Spreading(config, log)
