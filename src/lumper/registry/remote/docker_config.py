"""Credentials that `docker login` has left. Pure.

Source: docker/cli, "docker login": config.json with `auths`, `credHelpers` and `credsStore`.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from lumper.errors import Invalid
from lumper.registry.remote.auth import Credentials
from lumper.registry.remote.reference import HUB

_HUB_NAMES = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", HUB)


def credentials_for(host: str, text: str) -> Credentials | None:
    """What the file's text has for the registry at HOST[:PORT], None for nothing.

    Programs that the file names (`credHelpers`, `credsStore`) are not run: raises Invalid where only they know. Raises
    Invalid for a file that is none.
    """
    try:
        document = json.loads(text)
        auths: dict[str, Any] = {_host(name): entry for name, entry in (document.get("auths") or {}).items()}
        helpers = {_host(name): helper for name, helper in (document.get("credHelpers") or {}).items()}
        entry = auths.get(_host(host)) or {}
        helper = helpers.get(_host(host)) or (document.get("credsStore") if _host(host) in auths else None)
        name, _, password = base64.b64decode(entry.get("auth") or "", validate=True).decode("utf-8").partition(":")
        token = str(entry.get("identitytoken") or "")
    except (ValueError, AttributeError, TypeError) as exc:
        raise Invalid("Docker's config.json is not as `docker login` writes it.") from exc
    if token or password:
        return Credentials(name, password.rstrip("\0"), token)
    if helper:
        raise Invalid(
            f"The password for {host} is known to docker-credential-{ascii(helper)[1:-1]}, which is not run.",
            hint="Give it with --username and --password-file.",
        )
    return None


def _host(name: str) -> str:
    if name in _HUB_NAMES:
        return HUB
    return name.removeprefix("https://").removeprefix("http://").partition("/")[0]
