"""The pages of `lumper registry`: images, access and the audit log, and nothing of builds and hosts."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from parts.processes.lumper_process import LumperServer
from parts.web.first_user import pages


@pytest.mark.parametrize(
    ("role", "leads_to", "first"),
    [
        ("registry", ["Images", "Access", "Audit"], "/images"),
        ("server", ["Builds", "Images", "Services", "Projects", "Mail", "Access", "Audit"], ""),
    ],
)
def test_the_pages_lead_to_what_there_is(tmp_path: Path, role: str, leads_to: list[str], first: str) -> None:
    with LumperServer(tmp_path / "data", {"deploy.with_server": "false"}, role=role) as server:
        server.wait_until_said("/setup?token=")
        browser = pages(server)
        with browser.open(server.url, timeout=30) as page:
            text = page.read().decode()
            assert page.url.rstrip("/").removeprefix(server.url) == first
        (navigation,) = re.findall(r'(?s)<nav aria-label="Main">(.*?)</nav>', text)
        assert re.findall(r">([A-Z]\w+)</a>", navigation) == leads_to

        with pytest.raises(urllib.error.HTTPError) as refused:
            browser.open(urllib.request.Request(f"{server.url}/nowhere", headers={"Accept": "text/html"}), timeout=30)
        with refused.value as page:
            assert f'<a class="button" href="/">{leads_to[0]}</a>' in page.read().decode()
