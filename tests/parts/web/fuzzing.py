"""schemathesis against a live application: requests made from its own description, right ones and wrong ones."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from lumper.model.people.people import Role
from parts.registries.live_registry import RegistryClient
from parts.web.live_api import Api

# What the description cannot say: a log that is followed ends with its build, and names have slashes, so that the last
# part of a path may also belong to the name in a shorter one.
_SETTINGS = r"""
[[operations]]
include-path = "/api/v1/builds/{id}/log"
parameters = { follow = "0" }

[[operations]]
include-path-regex = '^/api/v1/[a-z]+/\{name\}/'
checks.allow_header_conformance.enabled = false
"""
# Some rules are more than a schema says (a password does not begin like a token), and guessing is slowed down by 429.
_NOT_CHECKED = "positive_data_acceptance,ignored_auth"


async def populate(api: Api) -> None:
    """Something of everything, so that requests find it."""
    await api.project()
    build = await api.build()
    await api.start(build)
    await api.ask("POST", f"/builds/{build}/cancel")
    await api.build("v1.0.1")
    client = RegistryClient(api.session, api.url, api.tokens[Role.ADMIN])
    await client.push_image("team/app", "1.0")


async def fuzz(api: Api, role: Role | None, *options: str, seconds: int) -> tuple[int, str]:
    """Send requests for so many seconds, as a role or as nobody; the status and what was found, as text."""
    settings = api.folder / "schemathesis.toml"
    await asyncio.to_thread(settings.write_text, _SETTINGS)
    description = await api.ask("GET", "/openapi.json")
    file = api.folder / "openapi.json"
    await asyncio.to_thread(file.write_text, json.dumps(description.body))
    sign_in = ("-H", f"Authorization: Bearer {api.tokens[role]}") if role else ()
    process = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).parent / "schemathesis", "--config-file", settings, "run", file, "--url", api.url),
        *("--max-time", str(seconds), "--phases", "coverage,fuzzing", "--exclude-checks", _NOT_CHECKED),
        *("--suppress-health-check", "all", "--warnings", "off", "--request-timeout", "60", *sign_in, *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=api.folder,
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()
