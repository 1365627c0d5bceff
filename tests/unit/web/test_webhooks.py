"""The webhook door over real HTTP, with a receiver that keeps everything in memory behind it."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import logging
import resource
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp
import pytest
from aiohttp import web

from lumper.errors import StorageFull
from lumper.forges.adapters.bitbucket_server import BitbucketServer
from lumper.forges.adapters.gitea import Gitea
from lumper.forges.adapters.github import GitHub
from lumper.forges.port import Parsed, Request
from lumper.forges.rules import Decision
from lumper.model.source import Project, Verdict, parse_git_url
from lumper.web.hooks import MAX_BODY, MAX_UNSIGNED, add_routes
from lumper.web.ports import Accepted
from parts.git import deliveries

SECRET = "correct horse"
OWN = "github/Demo/hello"
"""The address of the one project's own webhook."""
UNAUTHORIZED = "The signature does not fit any project of this name."


def _project(url: str, secret: str) -> tuple[Project, str]:
    path = parse_git_url(url).path
    return Project(url, path, url, path, path.lower(), datetime(2026, 1, 1, tzinfo=UTC)), secret


@dataclass
class MemoryReceiver:
    """Keeps what was accepted; a delivery id that it has seen is a duplicate."""

    projects: list[tuple[Project, str]]
    accepted: dict[tuple[str, str, str], Decision] = field(default_factory=dict)
    full: bool = False

    async def project(self, name: str) -> tuple[Project, str] | None:
        return next((known for known in self.projects if known[0].name == name), None)

    async def projects_like(self, repository: str) -> Sequence[tuple[Project, str]]:
        return self.projects

    async def accept(
        self, project: Project, forge: str, request: Request, parsed: Parsed, decision: Decision
    ) -> Accepted:
        if self.full:
            raise StorageFull
        key = (project.name, forge, parsed.delivery_id)
        if key in self.accepted:
            return Accepted(Verdict.DUPLICATE, "This delivery was handled before.")
        self.accepted[key] = decision
        return Accepted(decision.verdict, decision.reason, tuple(range(1, len(decision.builds) + 1)))


@dataclass
class Door:
    port: int
    client: aiohttp.ClientSession
    receiver: MemoryReceiver

    async def post(self, request: Request, forge: str = "github") -> tuple[int, dict[str, object]]:
        url = f"http://127.0.0.1:{self.port}/hooks/{forge}"
        async with self.client.post(url, data=io.BytesIO(request.body), headers=request.headers) as answer:
            return answer.status, await answer.json()

    async def raw(self, head: str, body: bytes = b"") -> str:
        """Send these very bytes and read until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        answer = await reader.read()
        writer.close()
        return answer.decode()


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    receiver = MemoryReceiver([_project("https://github.com/Demo/hello", SECRET)])
    app = web.Application()
    add_routes(app, receiver, [GitHub(), Gitea(), BitbucketServer()])
    runner = web.AppRunner(app, lingering_time=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with aiohttp.ClientSession() as client:
        yield Door(runner.addresses[0][1], client, receiver)
    await runner.cleanup()


async def test_a_signed_tag_push_starts_a_build(door: Door) -> None:
    status, answer = await door.post(deliveries.fixture("github/push_annotated_tag", secret=SECRET))
    assert (status, answer["verdict"], answer["builds"]) == (202, "build", [1])


async def test_a_slash_at_the_end_of_the_address_does_no_harm(door: Door) -> None:
    status, answer = await door.post(deliveries.fixture("github/push_annotated_tag", secret=SECRET), "github/")
    assert (status, answer["verdict"]) == (202, "build")


@pytest.mark.parametrize("address", [OWN, f"{OWN}/", "github/Demo%2Fhello"])
async def test_a_project_s_own_address_starts_its_build(door: Door, address: str) -> None:
    status, answer = await door.post(deliveries.fixture("github/push_annotated_tag", secret=SECRET), address)
    assert (status, answer["verdict"], answer["builds"]) == (202, "build", [1])


async def test_redelivery_at_the_other_address_is_a_duplicate(door: Door) -> None:
    request = deliveries.fixture("github/push_annotated_tag", secret=SECRET)
    await door.post(request)
    assert (await door.post(request, OWN))[1]["verdict"] == "duplicate"


async def test_nothing_unsigned_is_parsed_at_a_project_s_own_address(door: Door) -> None:
    malformed = b"[" * 20_000_000
    requests = [
        (deliveries.fixture("github/push_annotated_tag"), OWN),
        (deliveries.fixture("github/push_annotated_tag", secret="wrong"), OWN),
        (deliveries.made("github", "push", malformed, secret="wrong"), OWN),
        (deliveries.fixture("github/push_annotated_tag", secret=SECRET), "github/Demo/unknown"),
        (deliveries.made("github", "push", malformed, secret=SECRET), "github/Demo/unknown"),
    ]
    answers = [await door.post(request, address) for request, address in requests]
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][0] == 401
    assert (await door.post(deliveries.made("github", "push", malformed, secret=SECRET), OWN))[0] == 400


async def test_a_delivery_of_another_repository_is_refused_at_a_project_s_own_address(door: Door) -> None:
    request = deliveries.fixture("github/push_annotated_tag", secret=SECRET, repository={"full_name": "Demo/other"})
    status, answer = await door.post(request, OWN)
    assert (status, answer["verdict"]) == (200, "refused")
    assert "Demo/other" in str(answer["reason"])


async def test_gitea_s_delivery_is_gitea_s_at_its_own_door(door: Door) -> None:
    request = deliveries.fixture("gitea/push_tag", secret=SECRET)
    assert (await door.post(request, "gitea"))[0] == 202
    assert [forge for _, forge, _ in door.receiver.accepted] == ["gitea"]
    status, answer = await door.post(request, "github")
    assert status == 400
    assert "/hooks/gitea" in str(answer["reason"])


@pytest.mark.parametrize("name", ["ping", "push_branch", "push_deleted_tag", "create_tag", "release"])
async def test_signed_deliveries_that_build_nothing_are_answered_with_the_reason(door: Door, name: str) -> None:
    status, answer = await door.post(deliveries.fixture(f"github/{name}", secret=SECRET))
    assert (status, answer["verdict"], answer["builds"]) == (200, "ignored", [])
    assert answer["reason"]


async def test_the_same_delivery_twice_is_a_duplicate(door: Door) -> None:
    request = deliveries.fixture("github/push_annotated_tag", secret=SECRET)
    await door.post(request)
    assert (await door.post(request))[1]["verdict"] == "duplicate"


@pytest.mark.parametrize("name", ["github/ping_of_an_organization", "github/installation", "bitbucket-server/ping"])
async def test_what_names_no_repository_is_accepted_for_whichever_project_s_secret_signs_it(
    door: Door, name: str
) -> None:
    door.receiver.projects = [_project("https://git.example.org/a/one", "x" * 20), *door.receiver.projects]
    status, answer = await door.post(deliveries.fixture(name, secret=SECRET), name.partition("/")[0])
    assert (status, answer["verdict"], answer["builds"]) == (200, "ignored", [])
    assert [project for project, *_ in door.receiver.accepted] == ["Demo/hello"]


async def test_a_signed_push_of_a_hostile_ref_is_refused(door: Door) -> None:
    request = deliveries.fixture("github/push_annotated_tag", secret=SECRET, ref="refs/tags/--upload-pack=x")
    assert (await door.post(request))[1]["verdict"] == "refused"


async def test_no_signature_a_wrong_one_and_an_unknown_project_get_the_same_answer(door: Door) -> None:
    elsewhere = {"full_name": "Demo/unknown"}
    requests = [
        deliveries.fixture("github/push_annotated_tag"),
        deliveries.fixture("github/push_annotated_tag", secret="wrong"),
        deliveries.fixture("github/push_annotated_tag", secret=SECRET, repository=elsewhere),
        deliveries.fixture("github/ping_of_an_organization"),
        deliveries.fixture("github/ping_of_an_organization", secret="wrong"),
        deliveries.fixture("github/ping_of_an_organization", secret=SECRET, zen="x" * 20_000),
    ]
    answers = [await door.post(request) for request in requests]
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][0] == 401
    assert str(answers[0][1]["reason"]).startswith(UNAUTHORIZED)
    assert not door.receiver.accepted


async def test_one_project_s_secret_does_not_open_another(door: Door) -> None:
    door.receiver.projects = [_project("https://github.com/a/one", SECRET), _project("https://github.com/b/one", "two")]
    request = deliveries.fixture("github/push_annotated_tag", secret=SECRET, repository={"full_name": "b/one"})
    assert (await door.post(request))[0] == 401


async def test_a_project_without_a_secret_is_shut(door: Door) -> None:
    door.receiver.projects = [_project("https://github.com/Demo/hello", "")]
    request = deliveries.fixture("gitea/push_tag")
    assert (await door.post(request, "gitea"))[0] == 401


async def test_of_two_namesakes_the_one_whose_secret_signed_gets_the_delivery(door: Door) -> None:
    door.receiver.projects = [
        _project("https://github.com/demo/hello", "other"),
        _project("https://git.example.org/demo/hello", SECRET),
    ]
    status, _ = await door.post(deliveries.fixture("github/push_annotated_tag", secret=SECRET))
    assert status == 202


@pytest.mark.parametrize("body", [b"[]", b"null", b'{"repository":[]}', b"[" * 100_000, b'{"a":NaN}', b"\xff", b""])
async def test_malformed_deliveries_are_a_client_s_error_even_if_signed(door: Door, body: bytes) -> None:
    status, answer = await door.post(deliveries.made("github", "push", body, secret=SECRET))
    assert (status, answer["verdict"]) == (400, "refused")


async def test_an_unknown_forge_is_not_found(door: Door) -> None:
    status, answer = await door.post(deliveries.fixture("github/ping", secret=SECRET), "sourceforge")
    assert status == 404
    assert "github" in str(answer["reason"])


async def test_a_header_sent_twice_does_not_verify(door: Door) -> None:
    request = deliveries.fixture("github/ping", secret=SECRET)
    signature = request.headers["x-hub-signature-256"]
    answer = await door.raw(
        f"POST /hooks/github HTTP/1.1\nHost: x\nConnection: close\nContent-Length: {len(request.body)}\n"
        f"X-GitHub-Event: ping\nX-Hub-Signature-256: {signature}\nX-Hub-Signature-256: {signature}",
        request.body,
    )
    assert answer.startswith("HTTP/1.1 401")


async def test_headers_that_are_not_ascii_do_not_verify_and_break_nothing(door: Door) -> None:
    answer = await door.raw(
        "POST /hooks/github HTTP/1.1\nHost: x\nConnection: close\nContent-Length: 2\nX-Hub-Signature-256: sha256=é",
        b"{}",
    )
    assert answer.startswith("HTTP/1.1 401")


async def test_a_full_disk_is_told_as_a_matter_of_time(door: Door) -> None:
    door.receiver.full = True
    status, answer = await door.post(deliveries.fixture("github/ping", secret=SECRET))
    assert (status, answer["verdict"]) == (503, "refused")


class TestLargeBodies:
    async def test_a_large_delivery_is_accepted(self, door: Door) -> None:
        request = deliveries.fixture("github/push_annotated_tag", secret=SECRET, commits=["x" * 1000] * 20_000)
        assert len(request.body) > 20_000_000
        assert (await door.post(request, OWN))[0] == 202

    async def test_the_address_for_all_projects_takes_little_and_names_the_other_one(self, door: Door) -> None:
        small = deliveries.fixture("github/push_annotated_tag", secret=SECRET, commits=["x" * 1000] * 1_000)
        assert (await door.post(small))[0] == 202
        large = deliveries.fixture("github/push_annotated_tag", secret=SECRET, commits=["x" * 1000] * 1_100)
        status, answer = await door.post(large)
        assert status == 413
        assert "lumper project show NAME" in str(answer["reason"])

    async def test_many_large_deliveries_at_once_are_all_accepted(self, door: Door) -> None:
        body = json.dumps(deliveries.payload("github/push_annotated_tag") | {"commits": ["x" * 1000] * 2_000}).encode()
        requests = [deliveries.made("github", "push", body, secret=SECRET, delivery=str(n)) for n in range(12)]
        answers = await asyncio.gather(*(door.post(request, OWN) for request in requests))
        assert [status for status, _ in answers] == [202] * 12

    async def test_a_content_length_above_the_limit_is_refused_before_the_body_comes(self, door: Door) -> None:
        answer = await door.raw(f"POST /hooks/{OWN} HTTP/1.1\nHost: x\nContent-Length: {200 * 1024 * 1024}")
        assert answer.startswith("HTTP/1.1 413")
        assert "Connection: close" in answer

    async def test_who_asks_before_sending_is_refused_at_once_or_told_to_go_on(self, door: Door) -> None:
        rest = "HTTP/1.1\nHost: x\nConnection: close\nExpect: 100-continue\nContent-Length: "
        expect = f"POST /hooks/github {rest}"
        assert (await door.raw(f"{expect}{MAX_UNSIGNED + 1}")).startswith("HTTP/1.1 413")
        assert (await door.raw(f"POST /hooks/{OWN} {rest}{MAX_BODY + 1}")).startswith("HTTP/1.1 413")
        answer = await door.raw(f"{expect}2", b"[]")
        assert answer.startswith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400")

    async def test_a_body_without_end_is_refused_in_bounded_memory(self, door: Door) -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(f"POST /hooks/{OWN} HTTP/1.1\r\nHost: x\r\n".encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        answer = asyncio.ensure_future(reader.readline())
        sent = 0
        while not answer.done() and sent < 40 * MAX_BODY:
            writer.write(chunk)
            sent += 65536
            await writer.drain()
        assert (await answer).startswith(b"HTTP/1.1 413")
        writer.close()
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 120_000  # kilobytes

    async def test_a_compressed_body_is_refused_unopened(self, door: Door) -> None:
        body = gzip.compress(b"\0" * 50_000_000)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        request = Request({"content-encoding": "gzip", "x-github-event": "push"}, body)
        assert (await door.post(request))[0] == 415
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # kilobytes

    async def test_a_body_that_breaks_off_breaks_nothing(self, door: Door, caplog: pytest.LogCaptureFixture) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert (await door.post(deliveries.fixture("github/ping", secret=SECRET)))[0] == 200
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
