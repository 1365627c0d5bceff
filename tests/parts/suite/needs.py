"""What a test needs besides Python and git, as markers, and `--fast`, which leaves those tests out.

A test gets its markers from the fixtures that it asks for, from its parameters, or from its module's `pytestmark`.
"""

from __future__ import annotations

from collections import Counter
from typing import NoReturn

import pytest

NEEDS = {
    "docker": "a Docker Engine or another builder",
    "rabbitmq": "RabbitMQ",
    "postgresql": "PostgreSQL",
    "browser": "Chromium",
    "system": "root, or programs such as ssh, skopeo and nginx",
    "slow": "more time",
}
"""The markers, which `pyproject.toml` declares."""

_OF_FIXTURES = {"rabbitmq": "rabbitmq", "postgres": "postgresql", "sight": "browser"}


def lacking(what: str) -> NoReturn:
    """Fail because this machine lacks something that a test needs."""
    pytest.fail(f"{what}. `scripts/test --fast` leaves this test out.", pytrace=False)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="leave out tests that need more than Python, git and a moment")


@pytest.hookimpl(tryfirst=True)  # `-m` selects by these markers
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if {"integration", "acceptance"} & set(item.path.parts):
            item.add_marker("slow")
        for fixture in _OF_FIXTURES.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(_OF_FIXTURES[fixture])
        needs = [what for marker, what in NEEDS.items() if item.get_closest_marker(marker)]
        if needs and config.getoption("fast"):
            item.add_marker(pytest.mark.skip(reason=f"needs {', '.join(needs)}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Count the tests that were left out, instead of a line for each."""
    if config.getoption("fast"):
        reasons = Counter(report.longrepr[2] for report in terminalreporter.getreports("skipped"))
        for reason, count in reasons.most_common():
            terminalreporter.write_line(f"{count} {reason.removeprefix('Skipped: ')}")
