"""Who may use the registry, and how clients get in."""

from __future__ import annotations

import base64
import hmac
import io
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from lumper.model.people.people import Role
from lumper.system.secret_files import read_key
from parts.registries.live_registry import (
    OCI_MANIFEST,
    PASSWORD,
    LiveRegistry,
    RegistryClient,
    digest_of,
    live_registry,
)

EVERYTHING = [{"type": "repository", "name": "a", "actions": ["pull", "push", "delete"]}]


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


async def registry_token(
    session: aiohttp.ClientSession, live: LiveRegistry, role: Role, *scopes: str, service: str = "lumper"
) -> str:
    query = [("service", service), ("account", "x"), *(("scope", scope) for scope in scopes)]
    headers = basic("any", live.tokens[role])
    async with session.get(f"{live.url}/v2/token", params=query, headers=headers) as response:
        assert response.status == 200, await response.text()
        answer = await response.json()
    assert answer["token"] == answer["access_token"]
    return str(answer["token"])


async def with_scopes(session: aiohttp.ClientSession, live: LiveRegistry, role: Role, *scopes: str) -> RegistryClient:
    return RegistryClient(session, live.url, await registry_token(session, live, role, *scopes))


async def test_without_credentials_everything_is_a_challenge(
    live: LiveRegistry, session: aiohttp.ClientSession, admin: RegistryClient
) -> None:
    await admin.push_image("a", "x")
    anyone = RegistryClient(session, live.url)
    for method, path, scope in (
        ("GET", "/v2/", ""),
        ("GET", "/v2", ""),
        ("GET", "/v2/_catalog", "registry:catalog:*"),
        ("GET", "/v2/a/tags/list", "repository:a:pull"),
        ("HEAD", "/v2/a/manifests/x", "repository:a:pull"),
        ("PUT", "/v2/a/manifests/x", "repository:a:pull,push"),
        ("DELETE", "/v2/a/manifests/x", "repository:a:delete"),
        ("POST", "/v2/a/blobs/uploads/", "repository:a:pull,push"),
        ("POST", "/v2/a/blobs/uploads/?mount=x&from=b", "repository:a:pull,push repository:b:pull"),
        ("GET", f"/v2/a/referrers/{digest_of(b'layer')}", "repository:a:pull"),
        ("GET", f"/v2/a/blobs/{digest_of(b'layer')}", "repository:a:pull"),
        ("HEAD", f"/v2/a/blobs/{digest_of(b'layer')}", "repository:a:pull,push"),  # a look before a push
    ):
        async with anyone.request(method, path) as response:
            assert response.status == 401, path
            challenge = f'Bearer realm="{live.url}/v2/token",service="lumper"'
            assert response.headers["WWW-Authenticate"] == challenge + (f',scope="{scope}"' if scope else "")
            if method != "HEAD":
                assert (await response.json())["errors"][0]["code"] == "UNAUTHORIZED"


async def test_a_password_and_an_api_token_open_the_registry(
    live: LiveRegistry, session: aiohttp.ClientSession
) -> None:
    anyone = RegistryClient(session, live.url)
    token = live.tokens[Role.DEPLOYER]

    for headers in (basic("admin", PASSWORD), basic("whoever", token), {"Authorization": f"Bearer {token}"}):
        assert await anyone.status("GET", "/v2/", headers=headers) == 200
    for headers in (
        basic("admin", "wrong password"),
        basic("nobody", PASSWORD),
        basic("admin", token + "x"),
        {"Authorization": f"Bearer {token}x"},
        {"Authorization": f"Digest {token}"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()},
        {"Authorization": "Basic " + base64.b64encode(b"nocolon").decode()},
        {"Authorization": "Basic"},
        {"Authorization": "Bearer"},
    ):
        assert await anyone.refusal("GET", "/v2/", headers=headers) == (401, "UNAUTHORIZED"), headers


async def test_each_role_may_do_what_it_is_for(
    live: LiveRegistry, session: aiohttp.ClientSession, admin: RegistryClient
) -> None:
    digest = await admin.push_image("a", "x")
    pulls = {"GET /v2/a/tags/list": 200, f"GET /v2/a/manifests/{digest}": 200}
    pushes = {"POST /v2/a/blobs/uploads/": 202}
    deletes = {f"DELETE /v2/a/manifests/{digest_of(b'nothing')}": 404}
    lists = {"GET /v2/_catalog": 200}
    may = {
        Role.ADMIN: {**pulls, **pushes, **deletes, **lists},
        Role.OPERATOR: {**pulls, **pushes, **deletes, **lists},
        Role.WORKER: {},
        Role.DEPLOYER: pulls,
        Role.MAILER: {},
    }
    for role, allowed in may.items():
        client = RegistryClient(session, live.url, live.tokens[role])
        for request in {**pulls, **pushes, **deletes, **lists}:
            expected = (allowed.get(request, 403),)
            assert (await client.status(*request.split()),) == expected, (role, request)


@pytest.mark.parametrize(
    ("role", "tag", "status"),
    [
        (Role.ADMIN, "latest", 201),
        (Role.ADMIN, "_build-1-1", 201),
        (Role.OPERATOR, "latest", 201),
        (Role.OPERATOR, "_build-1-1", 403),
        (Role.WORKER, "latest", 403),
        (Role.WORKER, "_build-1-1", 403),
    ],
)
async def test_private_tags_belong_to_builds_and_the_others_to_people(
    live: LiveRegistry, session: aiohttp.ClientSession, admin: RegistryClient, role: Role, tag: str, status: int
) -> None:
    digest = await admin.push_image("a", "x")
    async with admin.request("GET", f"/v2/a/manifests/{digest}") as response:
        body, headers = await response.read(), {"Content-Type": response.headers["Content-Type"]}
    client = RegistryClient(session, live.url, live.tokens[role])

    assert await client.status("PUT", f"/v2/a/manifests/{tag}", data=body, headers=headers) == status


async def test_an_operator_cannot_delete_a_private_tag(
    live: LiveRegistry, session: aiohttp.ClientSession, admin: RegistryClient
) -> None:
    await admin.push_image("a", "_build-1-1")
    operator = RegistryClient(session, live.url, live.tokens[Role.OPERATOR])

    assert await operator.refusal("DELETE", "/v2/a/manifests/_build-1-1") == (403, "DENIED")
    assert await admin.status("DELETE", "/v2/a/manifests/_build-1-1") == 202


async def test_a_registry_token_reaches_as_far_as_its_scopes(
    live: LiveRegistry, session: aiohttp.ClientSession, admin: RegistryClient
) -> None:
    digest = await admin.push_image("a", "x")
    await admin.push_image("b/c", "x")
    client = await with_scopes(session, live, Role.ADMIN, "repository:a:pull repository:b/c:pull,push")

    assert await client.status("GET", "/v2/") == 200
    assert await client.status("GET", f"/v2/a/manifests/{digest}") == 200
    assert await client.status("POST", "/v2/b/c/blobs/uploads/") == 202
    for method, path, scope in (
        ("POST", "/v2/a/blobs/uploads/", "repository:a:pull,push"),
        ("POST", f"/v2/a/blobs/uploads/?digest={digest_of(b'')}", "repository:a:pull,push"),
        ("PATCH", "/v2/a/blobs/uploads/x", "repository:a:pull,push"),
        ("PUT", f"/v2/a/blobs/uploads/x?digest={digest_of(b'')}", "repository:a:pull,push"),
        ("PUT", "/v2/a/manifests/x", "repository:a:pull,push"),
        ("PUT", f"/v2/a/manifests/{digest}?tag=y", "repository:a:pull,push"),
        ("POST", "/v2/a/blobs/uploads/?mount=x&from=b", "repository:a:pull,push repository:b:pull"),
        ("DELETE", "/v2/b/c/manifests/x", "repository:b/c:delete"),
        ("DELETE", f"/v2/b/c/manifests/{digest}", "repository:b/c:delete"),
        ("DELETE", f"/v2/b/c/blobs/{digest_of(b'layer')}", "repository:b/c:delete"),
        ("GET", "/v2/d/tags/list", "repository:d:pull"),
        ("GET", "/v2/_catalog", "registry:catalog:*"),
    ):
        async with client.request(method, path) as response:
            assert response.status == 401
            assert f'scope="{scope}",error="insufficient_scope"' in response.headers["WWW-Authenticate"]
            if scope.startswith("repository"):
                assert f"it takes one for {scope}." in await response.text()


async def test_a_registry_token_holds_no_more_than_the_role(live: LiveRegistry, session: aiohttp.ClientSession) -> None:
    asked = ("repository:a:pull,push,delete", "repository:b:*", "registry:catalog:*", "repository:../x:pull", "x", "::")

    async def granted(role: Role) -> list[tuple[str, list[str]]]:
        claims = live.keys.verify("lumper", await registry_token(session, live, role, *asked))
        assert claims is not None
        return [(entry["name"], entry["actions"]) for entry in claims["access"]]

    everything = ["delete", "pull", "push"]
    assert await granted(Role.ADMIN) == [("a", everything), ("b", everything), ("catalog", ["*"])]
    assert await granted(Role.WORKER) == []
    assert await granted(Role.DEPLOYER) == [("a", ["pull"]), ("b", ["pull"])]
    assert await granted(Role.MAILER) == []


async def test_a_token_for_one_repository_cannot_mount_from_another(
    live: LiveRegistry, session: aiohttp.ClientSession, admin: RegistryClient
) -> None:
    digest = await admin.push_blob("private", b"secret")
    public = await with_scopes(session, live, Role.ADMIN, "repository:public:pull,push")

    await public.begin("public", f"?mount={digest}&from=private")
    assert await public.status("GET", f"/v2/public/blobs/{digest}") == 404

    await public.begin("public", f"?mount={digest}")
    assert await public.status("GET", f"/v2/public/blobs/{digest}") == 404

    both = await with_scopes(session, live, Role.ADMIN, "repository:public:pull,push", "repository:private:pull")
    assert await both.status("POST", f"/v2/public/blobs/uploads/?mount={digest}") == 201
    assert await both.status("POST", f"/v2/public/blobs/uploads/?mount={digest}&from=private") == 201


async def test_a_token_mounts_from_its_own_repositories_however_many_others_have_the_blob(
    live: LiveRegistry, session: aiohttp.ClientSession, admin: RegistryClient
) -> None:
    digest = await admin.push_blob("z", b"shared")
    for number in range(100):
        mount = f"/v2/a{number}/blobs/uploads/?mount={digest}&from=z"
        assert await admin.status("POST", mount) == 201
    both = await with_scopes(session, live, Role.ADMIN, "repository:b:pull,push", "repository:z:pull")

    assert await both.status("POST", f"/v2/b/blobs/uploads/?mount={digest}") == 201


async def test_no_token_is_given_for_another_one_or_for_another_service(
    live: LiveRegistry, session: aiohttp.ClientSession
) -> None:
    with_token = await with_scopes(session, live, Role.ADMIN, "repository:a:pull")
    with_password = RegistryClient(session, live.url)
    for client, query, headers in (
        (with_token, "scope=repository:a:push", {}),
        (with_password, "service=other", basic("x", live.tokens[Role.ADMIN])),
    ):
        async with client.request("GET", f"/v2/token?{query}", headers=headers) as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"].startswith("Basic ")
            assert (await response.json())["errors"][0]["code"] == "UNAUTHORIZED"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unsigned(claims: dict[str, Any], alg: str = "none") -> str:
    return ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": alg, "typ": "JWT"}, claims)) + "."


def by_hmac(claims: dict[str, Any], secret: bytes, hash: str = "sha256", **header: str) -> str:
    """A token that is signed by HMAC."""
    parts = ({"alg": "HS256", "typ": "JWT", **header}, claims)
    message = ".".join(encoded(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    return f"{message}.{encoded(hmac.digest(secret, message.encode(), hash))}"


async def test_a_forged_or_foreign_token_is_refused(live: LiveRegistry, session: aiohttp.ClientSession) -> None:
    who = await live.accounts.verify_password("admin", PASSWORD)
    assert who is not None
    good = {"sub": "admin", "by": who.identity.credential, "access": EVERYTHING}
    own = read_key(live.data / "token.key")
    now = json.loads(base64.urlsafe_b64decode(live.keys.sign("x", {}, 300).split(".")[1] + "=="))
    full = {**good, "iss": "lumper", "aud": "lumper", "iat": now["iat"], "exp": now["exp"]}

    def signed(claims: dict[str, Any], key: bytes = own, hash: str = "sha256", **header: str) -> str:
        return by_hmac(claims, key, hash, **header)

    bad = {
        "another service": live.keys.sign("other", good, 300),
        "a session": live.keys.sign("lumper-session", good, 300),
        "audience as list": signed({**full, "aud": ["lumper"]}),
        "no audience": signed({k: v for k, v in full.items() if k != "aud"}),
        "no expiry": signed({k: v for k, v in full.items() if k != "exp"}),
        "expiry as text": signed({**full, "exp": "never"}),
        "another issuer": signed({**full, "iss": "mallory"}),
        "expired": live.keys.sign("lumper", good, -1),
        "of the future": signed({**full, "iat": now["iat"] + 3600, "exp": now["exp"] + 7200}),
        "another key": signed(full, bytes(32)),
        "another key with a path as its id": signed(full, b"", kid="/dev/null"),
        "no key": signed(full, b""),
        "no algorithm": unsigned(full),
        "no algorithm, and signed": signed(full, alg="none"),
        "another algorithm": signed(full, hash="sha512", alg="HS512"),
        "another algorithm with the right signature": signed(full, alg="ES256"),
        "an algorithm of asymmetric keys": jwt.encode({"alg": "ES256"}, full, ECKey.generate_key("P-256")),
        "a key of its own": signed(full, bytes(32), jwk="{}"),
        "another's name": live.keys.sign("lumper", {**good, "sub": "nobody"}, 300),
        "a name as list": live.keys.sign("lumper", {**good, "sub": ["admin"]}, 300),
        "an unknown credential": live.keys.sign("lumper", {**good, "by": "trust:me"}, 300),
        "a credential as list": live.keys.sign("lumper", {**good, "by": ["password"]}, 300),
        "no credential": live.keys.sign("lumper", {**good, "by": ""}, 300),
        "not a token": "a.b.c",
        "dots": "...",
        "long": "x" * 7000,
    }
    assert await RegistryClient(session, live.url, signed(full)).status("GET", "/v2/") == 200
    for name, token in bad.items():
        client = RegistryClient(session, live.url, token)
        assert await client.refusal("GET", "/v2/") == (401, "UNAUTHORIZED"), name

    for name in ("expired", "of the future"):  # as when the clock was set: clients fetch another one by themselves
        client = RegistryClient(session, live.url, bad[name])
        for method, path, action in (("GET", "manifests/x", "pull"), ("POST", "blobs/uploads/", "pull,push")):
            async with client.request(method, f"/v2/a/{path}") as response:
                told = response.headers["WWW-Authenticate"]
            assert f'/v2/token",service="lumper",scope="repository:a:{action}",error="invalid_token"' in told


async def test_guessing_a_password_is_slowed_down_for_this_name_only(
    tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    async with live_registry(tmp_path, clock=lambda: 0.0) as live:
        anyone = RegistryClient(session, live.url)
        statuses = [await anyone.status("GET", "/v2/", headers=basic("admin", f"guess number {n}")) for n in range(6)]
        assert statuses == [401] * 5 + [429]

        async with anyone.request("GET", "/v2/", headers=basic("admin", PASSWORD)) as response:
            assert response.status == 429
            assert int(response.headers["Retry-After"]) >= 1
            assert (await response.json())["errors"][0]["code"] == "TOOMANYREQUESTS"
        assert await anyone.status("GET", "/v2/", headers=basic("other", "guess number 7")) == 401
        assert await anyone.status("GET", "/v2/", headers=basic("any", live.tokens[Role.ADMIN])) == 200


async def test_a_revoked_token_and_a_changed_password_end_at_once(
    live: LiveRegistry, session: aiohttp.ClientSession
) -> None:
    anyone = RegistryClient(session, live.url)
    token = basic("x", await live.accounts.create_token("ci", Role.OPERATOR))
    password = basic("admin", PASSWORD)
    for headers in (token, password):
        assert await anyone.status("GET", "/v2/", headers=headers) == 200

    await live.accounts.delete_token("ci")
    await live.accounts.set_password("admin", "another password")

    for headers in (token, password):
        assert await anyone.status("GET", "/v2/", headers=headers) == 401
    assert await anyone.status("GET", "/v2/", headers=basic("admin", "another password")) == 200


async def test_where_anyone_may_pull_nobody_may_do_more(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    async with live_registry(tmp_path, anonymous="pull") as live:
        digest = await RegistryClient(session, live.url, live.tokens[Role.ADMIN]).push_image("a", "x")
        anyone = RegistryClient(session, live.url)
        assert await anyone.status("GET", "/v2/") == 401  # or clients would never learn how to sign in
        async with anyone.request("GET", "/v2/token?service=lumper&scope=repository:a:pull,push") as response:
            token = (await response.json())["token"]

        for client in (anyone, RegistryClient(session, live.url, token)):
            assert await client.status("GET", f"/v2/a/manifests/{digest}") == 200
            assert await client.status("POST", "/v2/a/blobs/uploads/") == 401
            assert await client.status("DELETE", f"/v2/a/manifests/{digest}") == 401
            assert await client.status("GET", "/v2/_catalog") == 401
        assert await RegistryClient(session, live.url, token).status("GET", "/v2/") == 200
        assert await anyone.status("GET", "/v2/a/tags/list", headers=basic("admin", "wrong password")) == 401


async def test_where_anyone_may_push_nobody_may_delete_or_touch_a_build(
    tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    async with live_registry(tmp_path, anonymous="push") as live:
        anyone = RegistryClient(session, live.url)
        digest = await anyone.push_image("a", "x")
        assert await anyone.status("GET", f"/v2/a/manifests/{digest}") == 200
        body, kind = await manifest_of(anyone, digest), {"Content-Type": OCI_MANIFEST}
        refused = await anyone.status("PUT", "/v2/a/manifests/_build-1-1", data=io.BytesIO(body), headers=kind)
        assert refused in (401, 403)
        assert await anyone.status("DELETE", "/v2/a/manifests/x") == 401
        assert await anyone.status("GET", "/v2/_catalog") == 401


async def manifest_of(client: RegistryClient, digest: str) -> bytes:
    async with client.request("GET", f"/v2/a/manifests/{digest}") as response:
        return bytes(await response.read())
