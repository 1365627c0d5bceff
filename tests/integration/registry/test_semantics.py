"""What HTTP itself says of any resource holds for the registry's. Source: RFC 9110, RFC 9112."""

from __future__ import annotations

import asyncio

import pytest

from parts.registries.live_registry import OCI_MANIFEST, LiveRegistry, RegistryClient, digest_of
from parts.servers.raw_http import head, sent

BLOB = b"0123456789"


@pytest.mark.parametrize("asked", ["bytes=2-4", "bytes=0-1,5-6", "bytes=99-", "bytes=x"])
async def test_a_head_has_no_range(admin: RegistryClient, asked: str) -> None:
    path = f"/v2/app/blobs/{await admin.push_blob('app', BLOB)}"

    async with admin.request("HEAD", path, headers={"Range": asked}) as response:
        assert (response.status, response.headers["Content-Length"]) == (200, str(len(BLOB)))
        assert "Content-Range" not in response.headers


@pytest.mark.parametrize("digest", ["md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:abc", "", "sha384:" + "a" * 96])
async def test_an_upload_for_a_digest_that_is_none_does_not_begin(admin: RegistryClient, digest: str) -> None:
    for data in (None, b"x"):
        refused = await admin.refusal("POST", f"/v2/app/blobs/uploads/?digest={digest}", data=data)
        assert refused == (400, "DIGEST_INVALID")


@pytest.mark.parametrize(("version", "statuses"), [(b"1.0", [201]), (b"1.1", [100, 201])])
async def test_what_http_1_0_does_not_know_is_not_told_to_it(
    live: LiveRegistry, version: bytes, statuses: list[int]
) -> None:
    headers = b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: 10\r\n"
    path = f"/v2/app/blobs/uploads/?digest={digest_of(BLOB)}"

    got, came = await sent(live, head(live, "POST", path, headers, version=version) + BLOB)

    assert got == statuses, came


MANIFEST = {"Content-Type": OCI_MANIFEST}


async def two_images(admin: RegistryClient) -> tuple[list[bytes], list[str]]:
    """The manifests of two images of which the tag `x` has the first one, and their digests."""
    digests = [await admin.push_image("app", tag, tag.encode()) for tag in ("x", "y")]
    bodies = []
    for digest in digests:
        async with admin.request("GET", f"/v2/app/manifests/{digest}") as response:
            bodies.append(await response.read())
    return bodies, digests


async def at(admin: RegistryClient, tag: str) -> str:
    async with admin.request("HEAD", f"/v2/app/manifests/{tag}") as response:
        return str(response.headers.get("Docker-Content-Digest", ""))


async def test_a_tag_is_moved_only_from_where_the_client_knows_it_to_be(admin: RegistryClient) -> None:
    bodies, (first, second) = await two_images(admin)
    path, body = "/v2/app/manifests/x", bodies[1]

    for wrong in (
        {"If-Match": f'"{second}"'},
        {"If-Match": f'W/"{first}"'},
        {"If-None-Match": "*"},
        {"If-None-Match": f'"a", W/"{first}"'},
    ):
        assert await admin.refusal("PUT", path, data=body, headers={**MANIFEST, **wrong}) == (412, "DENIED")
        assert await admin.refusal("DELETE", path, headers=wrong) == (412, "DENIED")
    assert await at(admin, "x") == first

    assert await admin.status("PUT", path, data=body, headers={**MANIFEST, "If-Match": f'"a", "{first}"'}) == 201
    assert await at(admin, "x") == second
    assert await admin.status("PUT", path, data=body, headers={**MANIFEST, "If-None-Match": f'"{first}"'}) == 201
    assert await admin.status("DELETE", path, headers={"If-Match": f'"{second}"'}) == 202
    assert await at(admin, "x") == ""


async def test_a_tag_that_must_be_new_is_made_once(admin: RegistryClient) -> None:
    bodies, digests = await two_images(admin)

    async def pushed(body: bytes) -> int:
        return await admin.status("PUT", "/v2/app/manifests/new", data=body, headers={**MANIFEST, "If-None-Match": "*"})

    made = await asyncio.gather(*(pushed(bodies[n % 2]) for n in range(20)))

    assert sorted(made) == [201] + [412] * 19
    assert await at(admin, "new") == digests[made.index(201) % 2]
    assert await admin.status("PUT", "/v2/app/manifests/no", data=b"{}", headers={"If-Match": "*"}) == 412


async def test_what_is_not_there_is_not_found_under_any_condition(admin: RegistryClient) -> None:
    await two_images(admin)

    for item in ("manifests/none", "manifests/x%00y", f"manifests/{digest_of(b'')}", f"blobs/{digest_of(b'')}"):
        assert await admin.status("DELETE", f"/v2/app/{item}", headers={"If-Match": "*"}) == 404
        assert await admin.status("GET", f"/v2/app/{item}", headers={"If-Match": "*"}) == 404


async def test_only_what_the_client_means_is_read(admin: RegistryClient) -> None:
    _, (first, second) = await two_images(admin)
    blob = await admin.push_blob("app", BLOB)

    for path, digest in (("manifests/x", first), (f"manifests/{first}", first), (f"blobs/{blob}", blob)):
        for method in ("GET", "HEAD"):
            for match, status in ((f'"{digest}"', 200), ("*", 200), (f'"{second}"', 412), (f'W/"{digest}"', 412)):
                assert await admin.status(method, f"/v2/app/{path}", headers={"If-Match": match}) == status
    assert await admin.status("DELETE", f"/v2/app/blobs/{blob}", headers={"If-Match": f'"{second}"'}) == 412
    assert await admin.status("DELETE", f"/v2/app/blobs/{blob}", headers={"If-Match": f'"{blob}"'}) == 202


async def test_a_list_of_entity_tags_may_come_in_several_lines(live: LiveRegistry, admin: RegistryClient) -> None:
    blob = await admin.push_blob("app", BLOB)
    lines = f'If-None-Match: "x"\r\nIf-None-Match: "{blob}"\r\nConnection: close\r\n'.encode()

    assert (await sent(live, head(live, "GET", f"/v2/app/blobs/{blob}", lines)))[0] == [304]
