"""The page of the API tells every route, for whom it is, and what it does; so does the description of the registry."""

from __future__ import annotations

import re
from pathlib import Path

from lumper.web.api.openapi import described_routes
from lumper.web.oci.description import OPERATIONS, PATHS
from parts.web.live_api import live_api

DOCS = Path(__file__).parents[2] / "docs/reference"


async def test_every_route_is_told_and_no_other(tmp_path: Path) -> None:
    page = (DOCS / "api.md").read_text("utf-8")
    async with live_api(tmp_path) as api:
        rows = [
            f"| `{route.method}` | `{route.path}` | {', '.join(route.roles)} | {route.summary} |"
            for route in described_routes(api.app)
        ]

    assert sorted(re.findall(r"(?m)^\| `[A-Z]+` \| `/api/.*$", page)) == sorted(rows)


def test_the_description_has_the_endpoints_of_the_registrys_page() -> None:
    page = (DOCS / "registry.md").read_text("utf-8")
    told = {
        (method, path.replace("<", "{").replace(">", "}"))
        for method, path in re.findall(r"(?m)^\| `([A-Z]+)` \| `(/v2/\S*)` \|", page)
    }

    assert {(method, PATHS[kind]) for kind, method in OPERATIONS} == told
