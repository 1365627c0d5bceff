"""A registry loads what it needs, and no more: everything that a server imports stays in its memory for good."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path

from parts.processes.forked_lumper import environment
from parts.processes.lumper_process import LumperServer
from parts.servers.ports import free_ports
from parts.suite.waiting import wait_for

PROBE = """
import sys
from pathlib import Path
from lumper.cli.entry import main
file = Path(sys.argv.pop(1))
try:
    main()
finally:
    file.write_text(" ".join(sys.modules))
"""

# What other parts of Lumper use, or nobody: with each, what it would be loaded for.
UNNEEDED = {
    "aio_pika": "a broker elsewhere",
    "aiodocker": "services",
    "aiosmtplib": "mails",
    "alembic": "an older database",
    "cryptography": "secrets, signatures",
    "google.protobuf": "builds",
    "greenlet": "nobody",
    "grpclib": "builds",
    "isal": "layers that are compressed here",
    "jinja2": "pages and mails",
    "joserfc": "nobody",
    "lumper.build.capabilities": "builds",
    "lumper.build.context": "builds",
    "lumper.build.engines": "builds",
    "lumper.build.known_layers": "builds",
    "lumper.build.recipe": "builds",
    "lumper.build.run": "builds",
    "lumper.build.source.checkout": "builds",
    "lumper.build.source.objects": "builds",
    "lumper.deploy.hosts": "services",
    "lumper.roles.deployer": "services",
    "lumper.roles.mailer": "mails",
    "lumper.roles.worker": "builds",
    "obstore": "a bucket",
    "psycopg": "a database elsewhere",
    "pygments": "nobody",
    "rich": "commands that print tables",
    "yaml": "nobody",
}


def answered(address: str) -> int | None:
    """The status of a request; None while nobody listens."""
    try:
        with urllib.request.urlopen(address, timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as exc:
        return exc.code
    except OSError:
        return None


def loaded(tmp_path: Path) -> set[str]:
    """All modules of a `lumper registry` that has answered a request and was ended."""
    (port,) = free_ports(1)
    told, address = tmp_path / "modules", f"127.0.0.1:{port}"
    arguments = ("registry", "--listen", address, "--data", str(tmp_path / "data"))
    with subprocess.Popen([sys.executable, "-c", PROBE, str(told), *arguments], env=environment()) as process:
        try:
            wait_for(lambda: answered(f"http://{address}/v2/") == HTTPStatus.UNAUTHORIZED, "an answer")
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
    return set(told.read_text().split())


def test_an_idle_registry_has_loaded_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    with LumperServer(tmp_path / "data", role="registry"):
        pass  # a first start makes the tables and keys
    found = loaded(tmp_path)
    assert {"aiohttp", "sqlalchemy", "lumper.web.oci.api"} <= found  # or this test could not tell anything
    assert {name: UNNEEDED[name] for name in UNNEEDED if name in found} == {}
