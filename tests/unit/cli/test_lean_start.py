"""The command line starts without what only servers need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from parts.processes.forked_lumper import environment

HEAVY = ("aiohttp", "sqlalchemy", "pydantic", "alembic", "jinja2", "aiodocker", "grpclib", "asyncio")
PROBE = """
import sys
from lumper.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
sys.stderr.write(" ".join(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def imported(*arguments: str) -> set[str]:
    """The packages that a command imports in all."""
    command = [sys.executable, "-c", PROBE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True, timeout=30)
    assert done.stderr, done.stdout
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("builds", "--help"),
        ("project", "add", "--help"),
        ("registry", "--help"),
        ("registry", "gc", "--help"),
        ("up", "--help"),
        ("imags",),
    ],
)
def test_help_or_a_mistake_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert not imported(*arguments) & set(HEAVY)


def test_the_version_is_printed_without_a_reader_of_markdown() -> None:
    assert not imported("--version") & {"markdown_it", "pygments"}


def test_a_command_that_asks_a_server_imports_nothing_heavy_and_no_colours(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("lmp_x")
    arguments = ("builds", "--server", "http://127.0.0.1:9", "--token-file", str(tmp_path / "token"))
    assert not imported(*arguments) & {*HEAVY, "rich"}
