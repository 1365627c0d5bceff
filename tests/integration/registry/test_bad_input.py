"""Whatever comes, the registry answers with an error of the specification, and nothing leaves its folder."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from lumper.model.people.people import Role
from parts.registries.live_registry import (
    OCI_INDEX,
    OCI_MANIFEST,
    LiveRegistry,
    RegistryClient,
    digest_of,
    image_index,
    image_manifest,
    live_registry,
)
from parts.servers.raw_http import head, sent

CONFIG = b"{}"
CONFIG_DIGEST = digest_of(CONFIG)


async def raw(live: LiveRegistry, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """A request whose path nobody tidies up on the way."""
    host, _, port = live.host.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"Host: x\r\nAuthorization: Bearer {live.tokens[Role.ADMIN]}\r\nContent-Length: {len(body)}\r\n"
    writer.write(f"{method} {path} HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode() + body)
    answer = await reader.read()
    writer.close()
    head_of, _, rest = answer.partition(b"\r\n\r\n")
    return int(head_of.split()[1]), rest


@pytest.mark.parametrize(
    "name",
    [
        "UPPER",
        "a__/b",
        "a..b",
        "-a",
        "a-",
        "a//b",
        "/a",
        "a" * 300,
        "a/../b",
        "%2e%2e/x",
        "a%2Fb/%2e%2e",
        "%C3%A4",
        "a%00",
        "%ff",
    ],
)
async def test_an_illegal_name_is_refused_on_every_route(live: LiveRegistry, name: str) -> None:
    digest = digest_of(b"x")
    for method, rest in (
        ("GET", "tags/list"),
        ("PUT", "manifests/x"),
        ("GET", f"blobs/{digest}"),
        ("POST", "blobs/uploads/"),
        ("PATCH", "blobs/uploads/x"),
    ):
        status, body = await raw(live, method, f"/v2/{name}/{rest}")
        assert status == 400, body
        assert json.loads(body)["errors"][0]["code"] == "NAME_INVALID"


@pytest.mark.parametrize(
    "path",
    ["/v2/../../x/manifests/t", "/v2/%2e%2e/%2e%2e/x/manifests/t", "/v2/..%2f..%2fx/manifests/t", "/v2//", "/v2/x"],
)
async def test_a_path_that_leads_out_is_refused(live: LiveRegistry, tmp_path: Path, path: str) -> None:
    before = sorted(tmp_path.parent.rglob("*"))

    status, body = await raw(live, "PUT", path, b"{}")

    assert status in (400, 404), body
    assert json.loads(body)["errors"]
    new = set(tmp_path.parent.rglob("*")) - set(before)
    assert all("lumper.db" in path.name for path in new)


@pytest.mark.parametrize(
    "digest",
    [
        "sha256:../../x",
        "sha256:" + "a" * 63,
        "sha256:" + "A" * 64,
        "sha512:short",
        "md5:" + "a" * 32,
        "sha256:" + "a" * 64 + "%0a",
        "x",
        "",
        ":",
    ],
)
async def test_an_illegal_digest_is_refused_on_every_route(live: LiveRegistry, digest: str) -> None:
    requests = [("GET", f"blobs/{digest}"), ("DELETE", f"blobs/{digest}"), ("POST", f"blobs/uploads/?digest={digest}")]
    requests += [("GET", f"referrers/{digest}")]
    if ":" in digest:
        requests += [(method, f"manifests/{digest}") for method in ("GET", "PUT", "DELETE")]
    for method, rest in requests:
        status, body = await raw(live, method, f"/v2/a/{rest}", b"x")
        assert (status, json.loads(body)["errors"][0]["code"]) == (400, "DIGEST_INVALID"), (method, rest)


async def test_an_upload_is_not_finished_without_a_digest(admin: RegistryClient) -> None:
    location = await admin.begin("a")

    assert await admin.refusal("PUT", location) == (400, "DIGEST_INVALID")
    assert await admin.refusal("PUT", f"{location}?digest=sha256:../../x") == (400, "DIGEST_INVALID")
    assert await admin.status("GET", location) == 204


@pytest.mark.parametrize("tag", ["a" * 129, ".x", "-x", "a%20b", "a%2Fb", "ü"])
async def test_an_illegal_tag_cannot_be_pushed_and_is_not_found(admin: RegistryClient, tag: str) -> None:
    config = await admin.push_blob("a", CONFIG)
    good, kind = json.dumps(image_manifest((config, len(CONFIG)))).encode(), {"Content-Type": OCI_MANIFEST}
    refused = await admin.refusal("PUT", f"/v2/a/manifests/{tag}", data=good, headers=kind)
    assert refused == (400, "MANIFEST_INVALID")
    along = f"/v2/a/manifests/{digest_of(good)}?tag={tag}"
    assert await admin.refusal("PUT", along, data=good, headers=kind) == (400, "MANIFEST_INVALID")
    for method in ("GET", "DELETE"):
        assert await admin.refusal(method, f"/v2/a/manifests/{tag}") == (404, "MANIFEST_UNKNOWN")


@pytest.mark.parametrize("upload", ["x", "..", "%2e%2e%2fx", "0" * 32 + "-" + "0" * 16, "put-" + "0" * 32])
async def test_an_upload_that_nobody_began_is_not_there(admin: RegistryClient, upload: str) -> None:
    for method in ("GET", "PATCH", "DELETE"):
        assert await admin.status(method, f"/v2/a/blobs/uploads/{upload}") in (400, 404, 405)


def good() -> dict[str, object]:
    return image_manifest((CONFIG_DIGEST, len(CONFIG)))


BAD_MANIFESTS: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "null": b"null",
    "a text": b'"x"',
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "NaN": b'{"schemaVersion": NaN}',
    "not UTF-8": b'{"a": "\xff"}',
    "a huge number": b'{"schemaVersion": ' + b"9" * 10_000 + b"}",
    "a name twice": json.dumps(good()).replace('"layers"', '"config": {}, "layers"').encode(),
    "old schema": json.dumps({**good(), "schemaVersion": 1}).encode(),
    "a schema version that is no whole number": json.dumps({**good(), "schemaVersion": 2.0}).encode(),
    "size as fraction": json.dumps(image_manifest((CONFIG_DIGEST, 2.0))).encode(),  # type: ignore[arg-type]
    "no config": json.dumps({"schemaVersion": 2, "layers": []}).encode(),
    "no layers": json.dumps({k: v for k, v in good().items() if k != "layers"}).encode(),
    "config of null": json.dumps({**good(), "config": None}).encode(),
    "layers as object": json.dumps({**good(), "layers": {}}).encode(),
    "layer as text": json.dumps({**good(), "layers": ["x"]}).encode(),
    "digest as number": json.dumps(image_manifest((7, 1))).encode(),  # type: ignore[arg-type]
    "digest that leads out": json.dumps(image_manifest(("sha256:../../etc", 1))).encode(),
    "negative size": json.dumps(image_manifest((CONFIG_DIGEST, -1))).encode(),
    "size as text": json.dumps(image_manifest((CONFIG_DIGEST, "1"))).encode(),  # type: ignore[arg-type]
    "size as boolean": json.dumps(image_manifest((CONFIG_DIGEST, True))).encode(),
    "size beyond everything": json.dumps(image_manifest((CONFIG_DIGEST, 1 << 80))).encode(),
    "image and index at once": json.dumps({**good(), "manifests": []}).encode(),
    "another mediaType": json.dumps({**good(), "mediaType": OCI_INDEX}).encode(),
    "mediaType as list": json.dumps({**good(), "mediaType": []}).encode(),
    "mediaType as object": json.dumps({**good(), "mediaType": {"a": 1}}).encode(),
    "subject as text": json.dumps({**good(), "subject": "x"}).encode(),
    "artifactType as list": json.dumps({**good(), "artifactType": [1]}).encode(),
    "annotation as number": json.dumps({**good(), "annotations": {"a": 1}}).encode(),
    "annotations as list": json.dumps({**good(), "annotations": []}).encode(),
    "artifactType with newline": json.dumps({**good(), "artifactType": "a\nb"}).encode(),
    "artifactType with lone surrogate": json.dumps({**good(), "artifactType": "\ud800"}).encode(),
}


async def test_what_is_not_known_of_a_manifest_is_passed_over(admin: RegistryClient) -> None:
    await admin.push_blob("a", CONFIG)
    unknown = {"x": 1.5, "y": [[{}]] * 200, "z": {"schemaVersion": 1e300}, "\ud800": "\0"}

    digest = await admin.push_manifest("a", "x", {**good(), **unknown})  # image-spec, considerations.md

    assert await admin.status("GET", f"/v2/a/manifests/{digest}") == 200


async def test_odd_texts_of_a_manifest_are_kept(tmp_path: Path, database_url: str) -> None:
    odd = {"\ud800": "\udfff", "\0": "\0", "": "\r\n\U0001f600" * 1000}
    async with live_registry(tmp_path, database_url=database_url) as live, aiohttp.ClientSession() as session:
        admin = RegistryClient(session, live.url, live.tokens[Role.ADMIN])
        await admin.push_blob("a", CONFIG)
        digest = await admin.push_manifest("a", "x", {**good(), "subject": good()["config"], "annotations": odd})
        async with admin.request("GET", f"/v2/a/referrers/{CONFIG_DIGEST}") as response:
            (found,) = json.loads(await response.read())["manifests"]
    assert (found["digest"], found["annotations"]) == (digest, odd)


async def test_a_manifest_that_is_not_one_is_refused(admin: RegistryClient) -> None:
    await admin.push_blob("a", CONFIG)
    for media_type in (OCI_MANIFEST, ""):
        headers = {"Content-Type": media_type}
        for name, body in BAD_MANIFESTS.items():
            refused = await admin.refusal("PUT", "/v2/a/manifests/x", data=body, headers=headers)
            assert refused == (400, "MANIFEST_INVALID"), name
    assert await admin.status("GET", "/v2/a/manifests/x") == 404


@pytest.mark.parametrize(
    "media_type", ["application/json", "text/html", "application/vnd.docker.distribution.manifest.v1+json"]
)
async def test_an_unknown_media_type_is_refused(admin: RegistryClient, media_type: str) -> None:
    body = json.dumps({"schemaVersion": 2})

    refused = await admin.refusal("PUT", "/v2/a/manifests/x", data=body, headers={"Content-Type": media_type})

    assert refused == (400, "MANIFEST_INVALID")


async def test_an_index_with_layers_is_refused(admin: RegistryClient) -> None:
    body = json.dumps({**image_index(), "layers": []})

    refused = await admin.refusal("PUT", "/v2/a/manifests/x", data=body, headers={"Content-Type": OCI_INDEX})

    assert refused == (400, "MANIFEST_INVALID")


async def test_an_unknown_address_or_method_is_told_in_json(admin: RegistryClient) -> None:
    assert await admin.refusal("GET", "/v2/a/b/c") == (404, "UNSUPPORTED")
    async with admin.request("POST", "/v2/a/manifests/x") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "DELETE, GET, HEAD, PUT"
    assert await admin.status("PUT", "/v2/token") == 405


HOSTS = [
    (b"/v2/", b"Host: a.b-c_d:5000\r\n", "http://a.b-c_d:5000"),
    (b"/v2/", b"Host: [::1]:5000\r\n", "http://[::1]:5000"),
    (b"/v2/", b"Host:\r\n", "http://localhost"),
    (b"http://reg.example:81/v2/", b"Host: x\r\n", "http://reg.example:81"),
    (b"HTTP://[::1]:81/v2/", b"Host: x\r\n", "http://[::1]:81"),
    (b"https://reg.example/v2/", b"Host: x\r\n", "http://reg.example"),
    (b"/v2/", b"Host: a\r\nX-Forwarded-Proto: https\r\n", "https://a"),
    (b"/v2/", b"Host: a\r\nX-Forwarded-Proto: ftp\r\n", "http://a"),
    (b"/v2/", b"", None),
    (b"/v2/", b"Host: a\r\nHost: a\r\n", None),
    (b"/v2/", b"Host: a b/c\r\n", None),
    (b"/v2/", b'Host: x",realm="http://evil\r\n', None),
    (b"http://reg.example/v2/", b"", None),
    (b"http://reg.example/v2/", b"Host: a b\r\n", None),
    (b"ftp://reg.example/v2/", b"Host: x\r\n", None),
    (b"http://u:p@reg.example/v2/", b"Host: x\r\n", None),
    (b"http://a,b/v2/", b"Host: x\r\n", None),
]


async def test_the_host_of_a_request_is_one_and_clients_are_sent_there_for_tokens(live: LiveRegistry) -> None:
    """RFC 9112, section 3.2: none, two or a bad one are 400; a target that is a whole URL counts instead of it."""
    credentials = f"Authorization: Bearer {live.tokens[Role.ADMIN]}\r\n".encode()
    for target, host, meant in HOSTS:
        request = b"GET " + target + b" HTTP/1.1\r\n" + host + b"Connection: close\r\n"
        got, came = await sent(live, request + b"\r\n")
        assert got == [401 if meant else 400], (request, came)
        assert meant is None or f'realm="{meant}/v2/token"'.encode() in came, (request, came)
        assert b"evil" not in came
        got, came = await sent(live, request + credentials + b"\r\n")
        assert got == [200 if meant else 400], (request, came)


async def test_a_bad_host_is_refused_also_where_the_answer_is_in_memory(
    admin: RegistryClient, live: LiveRegistry
) -> None:
    await admin.push_image("a", "x")
    for host, wanted in ((b"Host: x\r\n", 200), (b"Host: a b\r\n", 400)):
        for _ in range(2):
            got, came = await sent(live, head(live, "GET", "/v2/a/manifests/x", host=host), answers=1)
            assert got == [wanted], came
