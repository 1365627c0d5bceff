"""The first user of a Lumper, as a browser that is signed in."""

from __future__ import annotations

import http.cookiejar
import urllib.parse
import urllib.request

from parts.processes.lumper_process import LumperServer


def pages(lumper: LumperServer) -> urllib.request.OpenerDirector:
    """A browser that has used the one-time link."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    link = urllib.parse.urlsplit(lumper.setup_link)
    form = {"token": urllib.parse.parse_qs(link.query)["token"][0], "name": "ada", "password": "correct horse battery"}
    request = urllib.request.Request(f"{lumper.url}/setup", urllib.parse.urlencode(form).encode())
    request.add_header("Origin", lumper.url)
    with browser.open(request, timeout=60) as response:
        assert response.status == 200
    return browser
