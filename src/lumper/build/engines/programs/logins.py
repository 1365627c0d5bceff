"""Credentials in the file that programs read them from. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from lumper.build.port import Login


def auth_file(logins: Mapping[str, Login]) -> bytes:
    """Credentials as containers-auth.json(5) and Docker's config.json have them."""
    auths = {
        host: {"auth": base64.b64encode(f"{login.username}:{login.password}".encode()).decode()}
        for host, login in logins.items()
    }
    return json.dumps({"auths": auths}).encode()
