"""Secrets over the API: set and listed by people, read by the attempt of a build that goes on, and by nobody else."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lumper.model.people.people import Role
from parts.web.live_api import Answer, Api, live_api

VALUE = "s3cr3t-of-npm"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with live_api(tmp_path) as served:
        await served.project()
        yield served


def new(name: str = "npm", value: str = VALUE, **more: Any) -> dict[str, Any]:
    return {"project": "owner/app", "name": name, "value": b64encode(value.encode()).decode(), **more}


async def attempt_token(api: Api, build_id: int, attempt: int = 1) -> str:
    answer = await api.ask("GET", f"/builds/{build_id}/login", role=Role.WORKER, params={"attempt": str(attempt)})
    assert answer.status == 200, answer.body
    return str(answer.body["password"])


async def given(api: Api, build_id: int, token: str, **query: str) -> Answer:
    headers = {"Authorization": f"Bearer {token}"}
    params = {"attempt": "1", **query}
    return await api.ask("GET", f"/builds/{build_id}/secrets", role=None, headers=headers, params=params)


async def test_a_secret_is_set_listed_and_removed_and_no_answer_has_its_value(api: Api) -> None:
    made = await api.ask("PUT", "/secrets", new(branches=["main"]))
    listed = await api.ask("GET", "/secrets", params={"project": "owner/app"})
    assert (made.status, [made.body]) == (200, listed.body)
    assert made.body | {"changed_at": ""} == {
        "project": "owner/app",
        "kind": "value",
        "name": "npm",
        "username": "",
        "branches": ["main"],
        "changed_at": "",
        "changed_by": "operator",
    }
    removed = await api.ask("DELETE", "/secrets", params={"project": "owner/app", "kind": "value", "name": "npm"})
    assert (removed.status, removed.body) == (200, {"name": "npm"})
    assert (await api.ask("GET", "/secrets")).body == []
    audit = await api.ask("GET", "/audit")
    assert [row["detail"] for row in audit.body if row["action"] == "secret"] == [
        "value npm of owner/app: removed",
        "value npm of owner/app: set",
    ]


async def test_an_attempt_reads_what_it_asks_for_with_its_own_token_until_it_ends(api: Api) -> None:
    await api.ask("PUT", "/secrets", new())
    await api.ask("PUT", "/secrets", new("other"))
    await api.ask("PUT", "/secrets", new("r.example.com", kind="login", username="bot", project=""))
    build_id = await api.build()
    token = await attempt_token(api, build_id)
    answer = await given(api, build_id, token, value="npm")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.body == {
        "values": {"npm": b64encode(VALUE.encode()).decode()},
        "keys": {},
        "logins": {"r.example.com": {"username": "bot", "password": VALUE}},
        "refused": [],
        "registry": "lumper.example.org",
        "taken": [],
    }
    await api.ask("POST", f"/builds/{build_id}/cancel")
    answer = await given(api, build_id, token, value="npm")
    assert answer.status in (401, 409)
    assert VALUE not in str(answer.body)


async def test_no_build_reads_what_another_is_given(api: Api) -> None:
    await api.ask("PUT", "/secrets", new())
    one, other = await api.build("v1"), await api.build("v2")
    token = await attempt_token(api, one)
    for build_id, attempt in ((other, "1"), (one, "2"), (one, "0"), (999, "1")):
        answer = await given(api, build_id, token, value="npm", attempt=attempt)
        assert answer.status == 409, (build_id, attempt)


@pytest.mark.parametrize("role", [Role.ADMIN, Role.OPERATOR, Role.WORKER, Role.ROBOT])
async def test_nobody_reads_a_secret_with_another_token(api: Api, role: Role) -> None:
    await api.ask("PUT", "/secrets", new())
    build_id = await api.build()
    answer = await api.ask("GET", f"/builds/{build_id}/secrets", role=role, params={"attempt": "1", "value": "npm"})
    assert answer.status == 403


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"value": "not base64!"}, 400),
        ({"value": ""}, 400),
        ({"name": "a/b"}, 400),
        ({"kind": "password"}, 400),
        ({"project": ""}, 400),
        ({"project": "no/such"}, 404),
        ({"kind": "login", "name": "r.example.com"}, 400),
        ({"more": 1}, 400),
    ],
)
async def test_what_is_no_secret_is_refused_and_the_answer_does_not_repeat_it(
    api: Api, change: dict[str, Any], status: int
) -> None:
    answer = await api.ask("PUT", "/secrets", {**new(), **change})
    assert answer.status == status, answer.body
    assert VALUE not in str(answer.body)
    assert b64encode(VALUE.encode()).decode() not in str(answer.body)


async def test_what_is_not_there_cannot_be_removed(api: Api) -> None:
    for query in ({"name": "npm"}, {"project": "owner/app", "name": "npm"}, {"project": "x", "name": "npm"}):
        assert (await api.ask("DELETE", "/secrets", params={"kind": "value", **query})).status == 404
    assert (await api.ask("DELETE", "/secrets", params={"kind": "x", "name": "npm"})).status == 400
