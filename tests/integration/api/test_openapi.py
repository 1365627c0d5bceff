"""The description of the API is true: requests made from it, right and wrong ones, are answered as it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_origin

import pytest

from lumper.model.people.people import Role
from lumper.web.api.openapi import described_routes, document
from parts.web.fuzzing import fuzz, populate
from parts.web.live_api import Api, live_api


async def test_every_route_says_what_it_takes_and_answers(api: Api) -> None:
    routes = list(described_routes(api.app))

    assert [f"{route.method} {route.path}" for route in routes if route.operation is None or not route.roles] == []
    names = document(api.app)["components"]["schemas"]
    assert [name for name in names if "__" in name] == []  # so pydantic tells two of one name apart: by our modules


async def test_no_two_paths_differ_only_in_the_names_of_their_parts(api: Api) -> None:
    paths = {route.path for route in described_routes(api.app)}

    assert len({re.sub(r"{\w+}", "{}", path) for path in paths}) == len(paths)


async def test_every_role_may_read_the_description_and_nobody_else(api: Api) -> None:
    for role in Role:
        answer = await api.ask("GET", "/openapi.json", role=role)
        assert answer.body["openapi"].startswith("3.1.")
        assert answer.body["paths"]["/api/v1/builds/{id}"]["get"]["summary"]
        assert answer.body["paths"]["/v2/{name}/blobs/{digest}"]["get"]["summary"]
    assert (await api.ask("GET", "/openapi.json", role=None)).status == 401


@pytest.mark.parametrize("path", ["/nothing", "/projects/a%0Ab", "/builds/x", "/builds/1/nothing"])
async def test_what_is_not_there_is_told_in_json(api: Api, path: str) -> None:
    answer = await api.ask("GET", path)

    assert answer.status == 404
    assert answer.error


async def test_a_method_that_a_route_does_not_have_is_told_with_those_that_it_has(api: Api) -> None:
    answer = await api.ask("PATCH", "/projects")

    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, POST"
    assert answer.body["hint"] == "Use GET, POST."


@pytest.mark.parametrize(
    "path", ["/builds?limit=", "/builds?limit=1&limit=2", "/builds?before=x", "/builds?limit=1e3", "/builds?limit=-1"]
)
async def test_a_number_in_the_query_is_one_number(api: Api, path: str) -> None:
    assert (await api.ask("GET", path)).status == 400


@pytest.mark.parametrize(
    "query", ["since=", "since=2026-05-01&since=", "since=%00", "action=", "action=tag&action=tag"]
)
async def test_a_time_or_a_kind_in_the_query_is_one(api: Api, query: str) -> None:
    assert (await api.ask("GET", f"/audit?{query}")).status == 400
    assert (await api.ask("GET", "/audit?since=2026-05-01&action=tag")).status == 200


async def test_a_parameter_that_would_be_passed_over_is_refused(api: Api) -> None:
    await populate(api)
    asked = 0
    for route in described_routes(api.app):
        assert route.operation is not None
        path = re.sub(r"{\w+}", "1", route.path.removeprefix("/api/v1"))
        role = Role.ADMIN if Role.ADMIN in route.roles else Role(route.roles[0])
        refused = ["mistyped=1", *(f"{name}=%00" for name in route.operation.query)]
        refused += [
            f"{name}=1&{name}=1" for name, kind in route.operation.query.items() if get_origin(kind) is not list
        ]
        for query in refused:
            answer = await api.ask(route.method, f"{path}?{query}", role=role, data=b"{}")
            assert answer.status == 400, (route, query, answer.body)
            assert query.partition("=")[0] in answer.body["error"]
            asked += 1
    assert asked > 100


async def test_who_may_see_all_sees_what_a_filter_names_only(api: Api) -> None:
    await populate(api)

    assert (await api.ask("GET", "/audit?actor=nobody")).body == []
    assert (await api.ask("GET", "/audit?actor=%00")).status == 400


async def test_a_flag_is_0_or_1(api: Api) -> None:
    for text in ("", "true", "1&dry_run=0"):
        assert (await api.ask("POST", f"/registry/gc?dry_run={text}")).status == 400


async def test_requests_made_from_the_description_are_answered_as_it_says(api: Api) -> None:
    await populate(api)

    status, found = await fuzz(api, Role.ADMIN, "--seed", "1", seconds=8)

    assert status == 0, found


async def test_who_has_no_credentials_gets_refusals_as_described(api: Api) -> None:
    await populate(api)

    status, found = await fuzz(api, None, "--seed", "1", "--phases", "coverage", seconds=10)

    assert status == 0, found


ODD = ["%00", "a%00b", "%ff", "%ed%a0%80", "%F0%9F%9A%80", "%27%3B--", "x" * 4000, "..%2f..", "%0d%0a"]


async def test_no_odd_text_in_an_address_is_a_fault_of_the_server(tmp_path: Path, database_url: str) -> None:
    async with live_api(tmp_path, database_url) as api:
        await populate(api)
        for route in described_routes(api.app):
            assert route.operation is not None
            for odd in ODD:
                path = re.sub(r"{\w+}", odd, route.path.removeprefix("/api/v1"))
                query = "&".join(f"{name}={odd}" for name in route.operation.query)
                answer = await api.ask(route.method, f"{path}?{query}", data=b"{}")
                assert answer.status < 500, (route, odd, answer.body)


async def test_no_odd_text_in_a_body_is_a_fault_of_the_server(tmp_path: Path, database_url: str) -> None:
    texts = ["\0", "a\0b", "\ud800", "🚀", "x" * 10_000, "'; --", "\r\n", "\u202e", " "]
    async with live_api(tmp_path, database_url) as api:
        await populate(api)
        for route in described_routes(api.app):
            if route.operation is None or route.operation.body is None:
                continue
            path = re.sub(r"{\w+}", "1", route.path.removeprefix("/api/v1"))
            for text in texts:
                for name in route.operation.body.model_fields:
                    fields = dict.fromkeys(route.operation.body.model_fields, "https://git.example.org/a/b")
                    answer = await api.ask(route.method, path, {**fields, name: text})
                    assert answer.status < 500, (route, name, text, answer.body)
