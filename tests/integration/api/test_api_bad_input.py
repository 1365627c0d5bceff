"""What the API answers to what is not there and to bad numbers, bodies, addresses and names."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from lumper.model.people.people import Role
from parts.web.live_api import Api


async def test_what_is_not_there_is_told_with_a_hint(api: Api) -> None:
    for method, path in (
        ("GET", "/builds/99"),
        ("GET", "/builds/99/log"),
        ("GET", "/builds/99/log/search?q=x"),
        ("POST", "/builds/99/cancel"),
        ("POST", "/builds/99/restart"),
        ("POST", "/builds/99/verify"),
        ("GET", "/builds/99/verification"),
        ("GET", "/builds/999999999999999999"),
        ("GET", "/builds/9999999999999999999999"),
        ("GET", "/builds/abc"),
        ("GET", "/projects/no/such"),
        ("DELETE", "/projects/no/such"),
        ("GET", "/projects/no/such/credentials"),
        ("GET", "/images/no/such"),
        ("DELETE", "/tokens/nothing"),
        ("POST", "/queue/nothing/revive"),
        ("GET", "/nothing"),
        ("GET", "/"),
    ):
        answer = await api.ask(method, path)
        assert (answer.status, bool(answer.error)) == (404, True), (method, path)
        assert answer.body["hint"] or "/tokens" in path, (method, path)


@pytest.mark.parametrize("value", ["-1", "x", "1e3", "٣", "1" * 19, "0", "1001", " 1", "1;drop"])
async def test_bad_limits_are_refused(api: Api, value: str) -> None:
    for path in ("/builds", "/rollouts", "/deliveries"):
        answer = await api.ask("GET", path, params={"limit": value})
        assert (answer.status, "limit" in answer.error) == (400, True)


async def test_bad_numbers_of_a_log_are_refused_before_it_begins(api: Api) -> None:
    await api.project()
    build_id = await api.build()
    for query, status in (
        ({"offset": "x"}, 400),
        ({"attempt": "-1"}, 400),
        ({"attempt": "0"}, 404),
        ({"attempt": "2"}, 404),
    ):
        answer = await api.ask("GET", f"/builds/{build_id}/log", params=query)
        assert (answer.status, bool(answer.error)) == (status, True), query
    assert (await api.ask("GET", f"/builds/{build_id}/log", params={"offset": "9" * 18})).body == ""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{}",
        b"{",
        b'{"url": 7}',
        b'{"url": null}',
        b'{"url": "https://h/a/b", "colour": "red"}',
        b'{"url": "https://h/a/b", "allow_local": "perhaps"}',
        b"\xff\xfe",
        b'{"url": "\\ud800"}',
        b"[" * 20_000,
        b'{"url": NaN}',
    ],
)
async def test_bad_bodies_are_refused(api: Api, data: bytes) -> None:
    answer = await api.ask("POST", "/projects", data=data)
    assert (answer.status, bool(answer.error)) == (400, True)
    assert (await api.ask("GET", "/projects")).body == []


async def test_a_body_may_come_in_pieces_and_not_be_too_large(api: Api) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b'{"url": "https://git.exam', b'ple.org/owner/app"', b"}"):
            yield piece

    assert (await api.ask("POST", "/projects", data=pieces())).status == 201
    large = await api.ask("POST", "/projects", {"url": "x" * 70_000})
    assert (large.status, large.error) == (413, "The body is too large.")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "file:///etc",
        "ext::sh -c id",
        "git://h/a/b",
        "--upload-pack=x",
        "https://h/",
        "https://h/a/b?x=1",
        "ssh://-oProxyCommand=x/a/b",
        "http://user:hunter2@h/..",
        "https://h/a b\nc",
    ],
)
async def test_urls_that_are_not_fetched_are_refused_without_their_password(api: Api, url: str) -> None:
    answer = await api.ask("POST", "/projects", {"url": url})
    assert (answer.status, bool(answer.error)) == (400, True)
    assert "hunter2" not in json.dumps(answer.body)


@pytest.mark.parametrize(
    "names",
    [
        {"name": "a\nb"},
        {"name": "a\0b"},
        {"name": "/a"},
        {"name": "a/"},
        {"name": "x" * 201},
        {"repository": "a\x1b[2J"},
        {"image": "../../etc"},
        {"image": "Owner/App"},
        {"image": "a" * 201},
        {"image": "registry.example.org:5000/app"},
    ],
)
async def test_bad_names_are_refused(api: Api, names: dict[str, str]) -> None:
    answer = await api.ask("POST", "/projects", {"url": "https://git.example.org/owner/app", **names})
    assert (answer.status, bool(answer.error), bool(answer.body["hint"])) == (400, True, True)


async def test_a_local_path_is_refused_unless_its_folder_is_allowed(api: Api) -> None:
    (api.folder / "secret.git").mkdir()
    (api.folder / "allowed" / "link.git").symlink_to(api.folder / "secret.git")
    for path in ("/etc", str(api.folder / "secret.git"), str(api.folder / "allowed" / "link.git")):
        answer = await api.ask("POST", "/projects", {"url": path})
        assert (answer.status, "allow-local" in answer.body["hint"]) == (400, True), path
    assert (await api.ask("POST", "/projects", {"url": str(api.folder / "allowed" / "app.git")})).status == 201


async def test_only_the_operator_may_allow_a_local_path(api: Api) -> None:
    body = {"url": str(api.folder / "elsewhere" / "app.git"), "allow_local": True}
    assert (await api.ask("POST", "/projects", body, role=Role.ADMIN)).status == 400
    assert (await api.ask("POST", "/projects", body, role=Role.WORKER)).status == 403
    assert (await api.ask("POST", "/projects", body, role=Role.OPERATOR)).status == 201


@pytest.mark.parametrize(
    "body", [{"name": "x", "role": "king"}, {"name": "", "role": "worker"}, {"name": "a b", "role": "worker"}]
)
async def test_bad_tokens_are_refused(api: Api, body: dict[str, str]) -> None:
    assert (await api.ask("POST", "/tokens", body)).status == 400
