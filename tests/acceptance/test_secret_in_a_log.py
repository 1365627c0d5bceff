"""A build that prints a secret: in no form, and nowhere behind the worker, can it be read."""

from __future__ import annotations

import asyncio
import base64
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from parts.engines.docker_engine import remove_service
from parts.git.forge import Forge, serve_forge
from parts.line.line import Line, body_of
from parts.processes.lumper_process import LumperServer

pytestmark = pytest.mark.docker

SECRET = "tok/en+7q&Zx9=Wd"
BASIC = base64.b64encode(f"bot:{SECRET}".encode()).decode()

DOCKERFILE = """\
FROM scratch
COPY busybox /bin/busybox
COPY print.sh /print.sh
RUN ["/bin/busybox", "sh", "/print.sh"]
"""
FIRST, SECOND = SECRET[:7], SECRET[7:]
PRINT = f"""\
alias printf='/bin/busybox printf'
first={shlex.quote(FIRST)}
second={shlex.quote(SECOND)}
printf 'plain %s here\\n' "$first$second"
printf 'basic %s\\n' "$(printf 'bot:%s' "$first$second" | /bin/busybox base64)"
printf 'url https://bot:%s@git.example.org/\\n' {shlex.quote(quote(SECRET, safe=""))}
printf 'slowly %s' "$first"; /bin/busybox sleep 0.5; printf '%s\\n' "$second"
printf 'colour %s\\033[31m%s\\033[0m\\n' "$first" "$second"
printf 'lines %s\\n%s end\\n' "$first" "$second"
printf 'to err %s\\n' "$first$second" >&2
i=0; while [ $i -lt 3000 ]; do echo "line $i of many $first and no more"; i=$((i + 1)); done
printf 'last %s\\n' "$first$second"
exit 3
"""


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    with serve_forge(tmp_path / "forge") as running:
        yield running


@pytest.fixture
def line(tmp_path: Path, forge: Forge) -> Iterator[Line]:
    """A project whose URL has the secret in it: the worker knows it, and no recipe names it."""
    with LumperServer(tmp_path / "data") as lumper:
        project = forge.project("shop")
        there = urlsplit(project.url)
        project.connect(lumper.client, there._replace(netloc=f"bot:{quote(SECRET, safe='')}@{there.netloc}").geturl())
        try:
            yield Line(lumper, project)
        finally:
            asyncio.run(remove_service(project.name, f"{lumper.address}/{project.image}"))


def test_a_secret_that_a_build_prints_is_read_by_nobody(line: Line) -> None:
    build_id = line.project.release("v1.0.0", {"Dockerfile": DOCKERFILE, "print.sh": PRINT})
    line.failed(build_id)
    said = line.text(build_id).splitlines()
    for words in (
        "plain *** here",
        "slowly ***",
        "colour ***\x1b[0m",
        "lines ***",
        "*** end",
        "to err ***",
        "last ***",
    ):
        assert words in said
    assert "url https://bot:***@git.example.org/" in said
    assert f"line 2999 of many {FIRST} and no more" in said
    assert any(text.startswith("basic ") and text.endswith("***") for text in said)

    forms = [SECRET, quote(SECRET, safe=""), BASIC, BASIC[8:], SECOND]
    kept = b"".join(path.read_bytes() for path in (line.lumper.data / "logs").rglob("*.jsonl"))
    everything = "\n".join([*said, kept.decode(), body_of(line.mail("failed")), line.lumper.said])
    assert [form for form in forms if form in everything] == []
