"""`lumper image` and `lumper registry rules|retention` as a person types them, against a running registry."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import aiohttp
import pytest

from parts.processes.command_line import Ran, lumper
from parts.processes.lumper_process import NO_ENGINE, LumperServer
from parts.registries.live_registry import OCI_INDEX, RegistryClient, image_index

T = TypeVar("T")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LumperServer]:
    with LumperServer(tmp_path_factory.mktemp("tidy") / "data", NO_ENGINE) as running:
        yield running


def push(server: LumperServer, repository: str, *tags: str) -> list[str]:
    """Push an image under each tag; their digests."""

    async def pushed(client: RegistryClient) -> list[str]:
        return [await client.push_image(repository, tag, f"{number}".encode()) for number, tag in enumerate(tags)]

    return asyncio.run(at(server, pushed))


def push_index(server: LumperServer, repository: str, tag: str, of: str) -> tuple[str, str]:
    """Push an index of the image that a tag points at; the digests of the image and of the index."""

    async def pushed(client: RegistryClient) -> tuple[str, str]:
        digest, _, body = await client.manifest(repository, of)
        index = image_index((digest, len(json.dumps(body))))
        return digest, await client.push_manifest(repository, tag, index, OCI_INDEX)

    return asyncio.run(at(server, pushed))


async def at(server: LumperServer, act: Callable[[RegistryClient], Awaitable[T]]) -> T:
    """What comes of it with a client that may do everything."""
    token = (server.data / "tokens" / "operator").read_text().strip()
    async with aiohttp.ClientSession() as session:
        return await act(RegistryClient(session, server.url, token))


def test_a_tag_goes_back_and_its_past_is_shown(server: LumperServer) -> None:
    def run(*arguments: object) -> Ran:
        return lumper(*arguments, "--data", server.data)

    one, two = push(server, "app", "x", "x")
    assert run("image", "retag", "app:x", "--undo").out == f"app:x points at {one} now.\nBefore: {two}\n"
    assert run("image", "retag", "app:y", two).out.endswith("It is new.\n")
    assert "was not deleted" in run("image", "delete", "app:x").trouble
    assert run("image", "delete", "app:x", "--yes").out == (
        "app:x is gone.\nTo bring it back: lumper image retag app:x --undo\n"
    )
    assert run("image", "retag", "app:x", "--undo", "--json").json["digest"] == one
    told = run("image", "history", "app:x", "--json").json
    assert [(one["action"], one["detail"]) for one in told] == [
        ("tag", "undo"), ("untag", ""), ("tag", "undo"), ("tag", ""), ("tag", ""),
    ]  # fmt: skip
    shown = run("image", "history", "app").out
    assert "operator (operator) from 127.0.0.1" in shown
    assert "Say where to." in run("image", "retag", "app:x").trouble
    assert "not both" in run("image", "retag", "app:x", one, "--undo").trouble
    assert "names no image" in run("image", "history", "A").trouble
    assert "There is no image app:latest." in run("image", "inspect", "app").trouble


def test_all_tags_are_listed_however_many_there_are(server: LumperServer) -> None:
    names = [f"t{number}" for number in range(1001)]

    async def tagged(client: RegistryClient) -> None:
        digest, _, body = await client.manifest("many", "t0")
        for at in range(0, len(names), 250):
            asked = "&".join(f"tag={name}" for name in names[at : at + 250])
            await client.push_manifest("many", f"{digest}?{asked}", body)

    push(server, "many", "t0")
    asyncio.run(at(server, tagged))
    shown = lumper("images", "many", "--json", "--data", server.data).json
    assert [tag["name"] for tag in shown["tags"]] == sorted(names)


def test_a_part_of_an_index_goes_only_if_that_is_asked_for(server: LumperServer) -> None:
    def delete(digest: str, *more: str) -> Ran:
        return lumper("image", "delete", f"several@{digest}", "--yes", *more, "--data", server.data)

    push(server, "several", "amd64")
    part, index = push_index(server, "several", "1.0", "amd64")
    refused = delete(part).trouble
    assert f"It is a part of the index several@{index}, tagged 1.0." in refused
    assert "--break-index" in refused
    assert delete(part, "--break-index").out == f"several@{part} is gone.\n"
    assert delete(index).out == f"several@{index} is gone.\n"


def test_rules_are_set_listed_applied_and_removed(server: LumperServer) -> None:
    def run(*arguments: object) -> Ran:
        return lumper(*arguments, "--data", server.data)

    push(server, "team/web", "v1", "2", "3")
    assert "no rule" in run("registry", "retention", "--dry-run").out.lower()
    rule = ("--immutable", "v*", "--last", "1", "--quota", "1GiB")
    said = run("registry", "rules", "set", "team/*", *rule).out
    assert "removes 1 of 3 tags" in said
    assert "registry retention --dry-run --repository 'team/*'" in said
    assert "Nothing is left" not in said
    listed = run("registry", "rules", "list", "--json").json
    assert [(r["repositories"], r["immutable"], r["keep"]["last"], r["quota"]) for r in listed] == [
        ("team/*", ["v*"], 1, 1 << 30)
    ]
    assert "last 1" in run("registry", "rules", "list").out

    told = run("registry", "retention", "--dry-run").out
    assert "v1 is immutable by the rule for team/*" in told
    assert "1 would be removed, 2 stay." in told
    assert "immutable by the rule" in run("image", "delete", "team/web:v1", "--yes").trouble
    gone = run("registry", "retention", "--json").json
    assert [tag["tag"] for tag in gone["tags"] if not tag["kept"]] == ["2"]

    replaced = run("registry", "rules", "set", "team/*", "--last", "1").out
    assert "No longer: immutable v*; at most 1.0 GiB, which was in the rule before." in replaced
    assert "No longer" not in run("registry", "rules", "set", "team/*", *rule).out
    assert "no size" in run("registry", "rules", "set", "team/*", "--quota", "much").trouble
    assert "says nothing" in run("registry", "rules", "set", "team/*").trouble
    assert run("registry", "rules", "remove", "team/*").out == "There is no rule for team/* any more.\n"
    assert "There is no rule" in run("registry", "rules", "remove", "team/*").trouble
    assert "Nothing is left in team/web." in run("registry", "rules", "set", "team/**", "--always", "none").out
    assert "removes 0 of 2 tags" in run("registry", "rules", "set", "team/**", "--last", "2").out
