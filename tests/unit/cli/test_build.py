"""What `lumper build` takes from the machine of whoever calls it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from lumper.build.port import Login
from lumper.cli.builds.build import docker_logins


def test_passwords_of_docker_login_are_those_of_their_registry_alone(tmp_path: Path) -> None:
    def kept(password: str) -> dict[str, str]:
        return {"auth": base64.b64encode(f"ann:{password}".encode()).decode()}

    auths = {
        "https://index.docker.io/v1/": kept("of the hub"),
        "registry.test:5000": kept("of another"),
        "notdocker.io": kept("of a name that looks like the hub's"),
        "elsewhere.test": {},
        "no registry": kept("of nothing"),
    }
    (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
    assert docker_logins(tmp_path) == {
        "docker.io": Login("ann", "of the hub"),
        "registry.test:5000": Login("ann", "of another"),
        "notdocker.io": Login("ann", "of a name that looks like the hub's"),
    }
    assert docker_logins(tmp_path / "none") == {}
