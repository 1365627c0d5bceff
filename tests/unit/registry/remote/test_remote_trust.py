"""Whom the client for other registries trusts: addresses, realms, answers."""

from __future__ import annotations

import time
from email.utils import formatdate
from types import SimpleNamespace
from typing import cast

import aiohttp
import pytest
from yarl import URL

from lumper.errors import (
    RemoteError,
    RemoteInvalid,
    RemoteLimited,
    RemoteUnauthorized,
    RemoteUnavailable,
)
from lumper.registry.remote.address import Guard
from lumper.registry.remote.auth import Credentials, checked_realm, gets_credentials, parse_challenges
from lumper.registry.remote.connection import Connection, RetryPolicy, pause_before, retry_after


@pytest.mark.parametrize(
    ("home", "url", "good"),
    [
        ("https://8.8.8.8", "https://9.9.9.9/x", True),
        ("https://8.8.8.8", "https://10.0.0.1/x", False),
        ("https://8.8.8.8", "https://127.0.0.1/x", False),
        ("https://8.8.8.8", "https://169.254.169.254/x", False),
        ("https://10.0.0.1", "https://10.0.0.2/x", True),
        ("https://10.0.0.1", "https://127.0.0.1/x", False),
        ("http://127.0.0.1:5000", "http://127.0.0.2/x", True),
        ("http://127.0.0.1:5000", "http://169.254.169.254/x", False),
        ("http://169.254.1.1", "http://169.254.1.1/x", True),
    ],
)
async def test_other_hosts_may_be_public_or_as_near_as_the_registry(home: str, url: str, good: bool) -> None:
    guard = Guard(URL(home))
    guard.check_literal(URL(home))
    if good:
        guard.check_literal(URL(url))
    else:
        with pytest.raises(RemoteInvalid, match="not connected to"):
            guard.check_literal(URL(url))


@pytest.mark.parametrize("host", ["localhost", "0177.0.0.1", "2130706433", "127.1"])
async def test_names_are_looked_at_by_what_they_resolve_to(host: str) -> None:
    guard = Guard(URL("https://8.8.8.8"))
    with pytest.raises((RemoteInvalid, OSError)):
        await guard.resolve(host, 443)
    assert await Guard(URL(f"http://{host}")).resolve(host, 80) if host == "localhost" else True


async def test_a_name_that_means_a_special_address_is_refused_and_a_near_one_makes_others_near() -> None:
    with pytest.raises(RemoteInvalid, match="not connected to"):
        await Guard(URL("http://169.254.1.1")).resolve("169.254.1.1", 80)

    guard = Guard(URL("http://localhost:5000"))
    guard.check_literal(URL("http://some.example/"))
    with pytest.raises(RemoteInvalid):
        guard.check_literal(URL("http://127.0.0.2/"))
    await guard.resolve("localhost", 5000)
    guard.check_literal(URL("http://127.0.0.2/"))


@pytest.mark.parametrize(
    ("registry", "realm", "auth_host", "told"),
    [
        ("https://r.example", "https://r.example/token", "", True),
        ("https://r.example", "https://r.example:8443/token", "", True),
        ("https://registry-1.docker.io", "https://auth.docker.io/token", "", True),
        ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth", "", True),
        ("https://registry-1.docker.io", "https://auth.docker.io:8443/token", "", False),
        ("https://registry-1.docker.io", "https://auth.docker.io.evil.example/token", "", False),
        ("https://evil.example", "https://auth.docker.io/token", "", False),
        ("https://r.example", "https://auth.example/token", "", False),
        ("https://r.example", "https://auth.example/token", "auth.example", True),
        ("https://r.example", "https://auth.example:99/token", "auth.example:99", True),
        ("https://r.example", "https://sub.r.example/token", "", False),
        ("http://r.example:5000", "http://r.example:5000/token", "", True),
        ("http://r.example:5000", "http://r.example:6000/token", "", False),
        ("http://r.example:5000", "https://r.example/token", "", True),
        ("https://r.example", "http://r.example/token", "", False),
        ("https://r.example", "http://auth.example/token", "auth.example", False),
        ("https://r.example", "https://auth.example:98/token", "auth.example:99", False),
        ("http://registry-1.docker.io", "http://auth.docker.io/token", "", False),
    ],
)
def test_a_realm_gets_the_password_only_if_it_belongs_to_the_registry(
    registry: str, realm: str, auth_host: str, told: bool
) -> None:
    assert gets_credentials(URL(registry), URL(realm), auth_host) is told


@pytest.mark.parametrize(
    "realm",
    ["http://r.example/token", "", "/token", "file:///etc/passwd", "https://u:p@r.example/", "ftp://x/", "https://"],
)
def test_a_registry_behind_tls_has_its_realm_behind_tls(realm: str) -> None:
    with pytest.raises(RemoteInvalid):
        checked_realm(URL("https://r.example"), realm)


@pytest.mark.parametrize("realm", ["", "/token", "file:///etc/passwd", "http://u:p@r.example/", "ftp://x/", "http://"])
def test_a_registry_without_tls_has_a_realm_that_is_a_web_address(realm: str) -> None:
    with pytest.raises(RemoteInvalid):
        checked_realm(URL("http://r.example"), realm)
    assert checked_realm(URL("http://r.example"), "http://x.example/t?a=b") == URL("http://x.example/t?a=b")


def test_challenges_are_read() -> None:
    found = parse_challenges(
        ['Bearer realm="https://a/t",service="x, y",scope="repository:a:pull,push"', 'Basic realm="a \\"b\\""']
    )
    assert [(one.scheme, dict(one.fields)) for one in found] == [
        ("bearer", {"realm": "https://a/t", "service": "x, y", "scope": "repository:a:pull,push"}),
        ("basic", {"realm": 'a "b"'}),
    ]
    both = parse_challenges(['Basic realm=a, Bearer realm="https://a/t",service=s'])
    assert [(one.scheme, dict(one.fields)) for one in both] == [
        ("basic", {"realm": "a"}),
        ("bearer", {"realm": "https://a/t", "service": "s"}),
    ]
    assert parse_challenges(["", "Negotiate", "\x00"]) == []


@pytest.mark.parametrize(
    ("attempt", "error", "least", "most"),
    [
        (1, RemoteUnavailable(), 0.1, 1),
        (4, RemoteUnavailable(), 1, 10),
        (1, RemoteLimited(retry_after=7), 7, 7),
        (1, RemoteLimited(retry_after=60), 60, 60),
    ],
)
def test_what_may_get_better_is_tried_again(attempt: int, error: RemoteError, least: float, most: float) -> None:
    pause = pause_before(attempt, error, RetryPolicy())
    assert pause is not None
    assert least <= pause <= most


@pytest.mark.parametrize(
    ("attempt", "error"),
    [(5, RemoteUnavailable()), (1, RemoteUnauthorized()), (1, RemoteInvalid()), (1, RemoteLimited(retry_after=3600))],
)
def test_what_does_not_is_not(attempt: int, error: RemoteError) -> None:
    assert pause_before(attempt, error, RetryPolicy()) is None


def test_retry_after_is_a_number_or_a_date() -> None:
    assert retry_after("7") == 7
    assert 3000 < retry_after(formatdate(time.time() + 3600, usegmt=True)) <= 3600
    assert retry_after("soon") == retry_after("") == retry_after("-1") == retry_after("٣") == 0


@pytest.mark.parametrize(
    ("home", "place", "leads"),
    [
        ("https://r.example", "https://cdn.example/b?x=%2F", "https://cdn.example/b?x=%2F"),
        ("https://r.example", "/v2/other", "https://r.example/v2/other"),
        ("http://r.example", "http://cdn.example/b", "http://cdn.example/b"),
        ("http://r.example", "https://cdn.example/b", "https://cdn.example/b"),
        ("https://r.example", "http://r.example/b", ""),
        ("https://r.example", "//u@r.example/b", ""),
        ("http://r.example", "ftp://r.example/b", ""),
        ("http://r.example", "http://u:p@r.example/b", ""),
    ],
)
async def test_a_redirect_never_leads_out_of_tls_or_to_what_is_no_web_address(
    home: str, place: str, leads: str
) -> None:
    connection = Connection(home, Credentials())
    answer = cast("aiohttp.ClientResponse", SimpleNamespace(headers={"Location": place}))
    asked = URL(f"{home}/v2/a")

    try:
        if leads:
            assert str(connection.location(answer, asked)) == leads
        else:
            with pytest.raises(RemoteInvalid, match="not followed"):
                connection.location(answer, asked)
    finally:
        await connection.close()
