"""Pages of what was told of an image: its packages, its provenance, its signature; and of building it once more."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lumper.model.builds.build import Attested, BuildState
from lumper.model.builds.verification import Difference, FileDifference, Verified
from lumper.roles.attester import Attester
from parts.registries.page_images import program
from parts.web.live_pages import LivePages, live_pages

HOSTILE = "<script>window.owned=1</script>"
DPKG = (
    "Package: openssl\nStatus: install ok installed\nArchitecture: amd64\nVersion: 3.0.15-1\n\n"
    f"Package: odd{HOSTILE}\nStatus: install ok installed\nArchitecture: all\nVersion: 1&2\n"
)


def layer() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        entry = tarfile.TarInfo("var/lib/dpkg/status")
        entry.size = len(DPKG)
        tar.addfile(entry, io.BytesIO(DPKG.encode()))
    return made.getvalue()


@dataclass
class Sight:
    """Pages with one build, whose image is there."""

    live: LivePages
    session: aiohttp.ClientSession
    build_id: int
    digest: str

    async def get(self, path: str, status: int = 200) -> str:
        async with self.session.get(path) as answer:
            assert answer.status == status, await answer.text()
            return await answer.text()

    async def attest(self) -> None:
        attester = Attester(self.live.history, self.live.registry, self.live.told, self.live.links)
        await attester.sign()
        await attester.describe()


@pytest.fixture
async def sight(tmp_path: Path) -> AsyncIterator[Sight]:
    async with live_pages(tmp_path) as live, live.browser() as session:
        project = await live.project()
        digest = await live.put("acme/shop").image("1.4.2", layer=layer(), config={**program(), "rootfs": {}})
        build_id = await live.running(project)
        values: dict[str, Any] = {"digest": digest, "tags": ["1.4.2"], "commit": "c" * 40}
        await live.ended(build_id, BuildState.SUCCEEDED, **values)
        yield Sight(live, session, build_id, digest)


async def test_what_is_signed_is_linked_from_build_and_image(sight: Sight) -> None:
    assert "not signed yet" in await sight.get(f"/builds/{sight.build_id}")
    assert "not signed yet" in await sight.get("/images/acme/shop:1.4.2")
    await sight.attest()
    assert (await sight.live.history.builds.get(sight.build_id)).attested is Attested.WHOLE
    build, image = await sight.get(f"/builds/{sight.build_id}"), await sight.get("/images/acme/shop:1.4.2")
    for what in ("provenance", "packages"):
        assert f'href="/images/acme/shop@{sight.digest}/-/{what}"' in build
        assert f'href="/images/acme/shop:1.4.2/-/{what}"' in image
    assert "signed by this Lumper" in image


async def test_packages_are_listed_and_found_and_their_names_are_only_text(sight: Sight) -> None:
    await sight.attest()
    page = await sight.get("/images/acme/shop:1.4.2/-/packages")
    assert "<b>2</b> packages" in page
    assert "<b>openssl</b>" in page
    assert "3.0.15-1" in page
    assert HOSTILE not in page
    found = await sight.get(f"/images/acme/shop@{sight.digest}/-/packages?q=OPENSSL")
    assert "<b>openssl</b>" in found
    assert "odd" not in found
    assert "No package has nothing-like-it" in await sight.get("/images/acme/shop:1.4.2/-/packages?q=nothing-like-it")
    async with sight.session.get("/images/acme/shop:1.4.2/-/packages.json") as answer:
        assert answer.headers["Content-Disposition"] == 'attachment; filename="shop.spdx.json"'
        assert (await answer.json())["spdxVersion"] == "SPDX-2.3"


async def test_the_provenance_tells_repository_commit_and_build(sight: Sight) -> None:
    await sight.attest()
    page = await sight.get("/images/acme/shop:1.4.2/-/provenance")
    assert "https://git.example.org/acme/shop.git" in page
    assert "c" * 40 in page
    assert f"/builds/{sight.build_id}?attempt=1" in page
    assert "https://lumper.dev/build/dockerfile/v1" in page


async def test_what_was_not_told_says_why(sight: Sight) -> None:
    for what in ("packages", "packages.json", "provenance"):
        assert "has not told" in await sight.get(f"/images/acme/shop:1.4.2/-/{what}", 404)
        assert "There is no image" in await sight.get(f"/images/acme/none:1.4.2/-/{what}", 404)


async def test_a_build_is_verified_from_its_page_and_both_pages_tell_the_result(sight: Sight) -> None:
    page = f"/builds/{sight.build_id}"
    async with sight.session.post(f"{page}/verify", allow_redirects=False) as answer:
        assert answer.status == 303
        second_page = answer.headers["Location"]
    assert "is built again" in await sight.get(page)
    history = sight.live.history
    second = await history.builds.get(int(second_page.rpartition("/")[2]))
    files = (FileDifference(HOSTILE, ("content",)),)
    difference = Difference("layer 2", "linux/amd64", files=files, more=7)
    await history.verifications.decided(second, Verified.DIFFERS, "It differs in the layer 2.", [difference])
    for path in (page, second_page, "/images/acme/shop:1.4.2"):
        shown = await sight.get(path)
        assert "not reproducible" in shown
        assert "It differs in the layer 2." in shown
        assert "and 7 more files" in shown
        assert HOSTILE not in shown
    assert f"verifies #{sight.build_id}" in await sight.get(
        "/builds"
    ) or f"verifies #{sight.build_id}" in await sight.get("/")
