"""The page of the registry's API tells every endpoint and the limits that hold."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from lumper.model.people.people import Role
from lumper.registry.listings import MOST
from lumper.registry.manifests import MAX_BYTES
from lumper.web.auth.authenticator import REFRESH_SECONDS, REGISTRY_SECONDS
from lumper.web.oci import address
from lumper.web.oci.bytes.body import IDLE_SECONDS
from lumper.web.oci.bytes.ranges import MOST_PARTS
from parts.registries.live_registry import LiveRegistry, RegistryClient, digest_of, live_registry

PAGE = (Path(__file__).parents[2] / "docs/reference/registry.md").read_text("utf-8")
ENDPOINTS = re.findall(r"(?m)^\| `([A-Z]+)` \| `(/v2/\S*)` \|", PAGE)


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[LiveRegistry]:
    async with live_registry(tmp_path) as running:
        yield running


async def test_every_method_of_every_endpoint_is_told_and_no_other(live: LiveRegistry) -> None:
    filled = {"<name>": "a", "<reference>": "x", "<digest>": digest_of(b"x"), "<upload>": "x"}
    async with aiohttp.ClientSession() as session:
        admin = RegistryClient(session, live.url, live.tokens[Role.ADMIN])
        for path in {path for _, path in ENDPOINTS}:
            filled_in = re.sub(r"<\w+>", lambda found: filled[found[0]], path)
            async with admin.request("PROPFIND", filled_in) as response:
                assert response.status == 405
                allowed = set(response.headers["Allow"].split(", ")) - {"HEAD"}
            assert allowed == {method for method, told in ENDPOINTS if told == path}, path


def test_every_kind_of_address_is_told() -> None:
    kinds = re.findall(r"(?m)^    (/v2/.*?)  ", address.__doc__ or "")
    assert {re.sub("<.*?>", "<>", kind) for kind in kinds} == {re.sub("<.*?>", "<>", path) for _, path in ENDPOINTS}


@pytest.mark.parametrize(
    "row",
    [
        f"| a manifest | {MAX_BYTES >> 20} MiB;",
        f"| a page of tags, repositories or referrers | {MOST} entries",
        f"| ranges of one request | {MOST_PARTS} ",
        f"| an upload without a byte | {IDLE_SECONDS:.0f} s",
        f"| a registry token | {REGISTRY_SECONDS} s",
        f"| a refresh token | {REFRESH_SECONDS // 86_400} days",
    ],
)
def test_a_limit_is_the_one_that_holds(row: str) -> None:
    assert row in PAGE
