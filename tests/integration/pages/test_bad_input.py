"""Forms that no page of ours sends: whoever sends them is told so, and nothing of it is a fault of the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from lumper.web import small_bodies
from parts.web.live_api import Api

FORM = "application/x-www-form-urlencoded"
PART = b"--a\r\nContent-Disposition: form-data; name=name\r\n%s\r\n\r\nx\r\n--a--\r\n"
ODD_FORMS: list[tuple[str, bytes, int]] = [
    ("multipart/form-data", b"x", 400),
    ("multipart/form-data; boundary=a", b"x", 400),
    ("multipart/form-data; boundary=" + "a" * 100, b"x", 400),
    ("multipart/form-data; boundary=a", PART % b"Content-Transfer-Encoding: x", 400),
    ("multipart/form-data; boundary=a", PART % b"Content-Type: text/plain; charset=bogus", 400),
    ("text/plain", b"name=a", 400),
    ("", b"name=a", 400),
    (FORM, b"name=%ff", 400),
    (FORM, b"name=\xff", 400),
    (FORM, b"name=%ed%a0%80&password=x", 400),
    (FORM, b"a=b&" * 200, 400),
    (FORM, b"x" * (65 << 10), 413),
]


@pytest.mark.parametrize("path", ["/login", "/setup"])
async def test_a_form_that_is_none_is_refused_and_told(api: Api, path: str) -> None:
    for kind, body, status in ODD_FORMS:
        async with api.session.post(api.url + path, data=body, headers={"Content-Type": kind}) as response:
            assert response.status == status, (kind, body[:60], await response.text())


@pytest.mark.parametrize("kind", [f"{FORM}; charset=bogus", FORM])
async def test_a_form_with_odd_fields_is_an_ordinary_refusal(api: Api, kind: str) -> None:
    for body in (
        b"",
        b"name=a%00b&password=%00",
        b"name=a&name=b&password=c&password=d",
        b"next=//evil&name=a&password=b",
    ):
        async with api.session.post(f"{api.url}/login", data=body, headers={"Content-Type": kind}) as response:
            assert response.status == 401


@pytest.mark.parametrize("path", ["/login", "/api/v1/tokens"])
async def test_a_body_whose_end_does_not_come_is_given_up(api: Api, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_bodies, "SECONDS", 0.2)
    ended = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"name"
        await ended.wait()

    headers = {"Content-Type": FORM, "Authorization": f"Bearer {next(iter(api.tokens.values()))}"}
    async with api.session.post(api.url + path, data=endless(), headers=headers) as response:
        assert response.status == 400
        assert "did not come" in await response.text()
    ended.set()
