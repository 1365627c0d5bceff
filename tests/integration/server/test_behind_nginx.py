"""The configuration for nginx that the docs give, run by nginx, with real clients in front of it."""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from parts.processes.lumper_process import LumperServer
from parts.registries.image_files import oci_layout
from parts.registries.live_registry import digest_of
from parts.servers.certificates import Authority
from parts.servers.ports import free_ports
from parts.suite.waiting import wait_for

pytestmark = pytest.mark.system

PAGE = (Path(__file__).parents[3] / "docs/how-to/tls.md").read_text("utf-8")
(TOLD,) = re.findall(r"(?s)```nginx\n(.*?)```", PAGE)
FRAME = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {servers}
}}
"""


@dataclass(frozen=True)
class Proxied:
    """Lumper behind nginx; `plain` and `secure` are nginx's ports."""

    lumper: LumperServer
    plain: int
    secure: int
    authority: Authority

    @property
    def token(self) -> str:
        return (self.lumper.data / "tokens" / "operator").read_text().strip()


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    folder = tmp_path_factory.mktemp("nginx")
    folder.chmod(0o755)
    authority = Authority(folder / "ca")
    pair = authority.certificate("localhost")
    plain, secure = free_ports(2)
    settings = {"server.public_url": f"https://localhost:{secure}"}
    with LumperServer(folder / "data", settings, role="registry") as running:
        config = _filled(TOLD, {
            "listen 80;": f"listen 127.0.0.1:{plain};",
            "listen 443 ssl;": f"listen 127.0.0.1:{secure} ssl;",
            "/etc/ssl/registry.pem": str(pair.certificate),
            "/etc/ssl/registry.key": str(pair.key),
            "127.0.0.1:5080": running.address,
        })  # fmt: skip
        (folder / "nginx.conf").write_text(FRAME.format(folder=folder, servers=config))
        process = subprocess.Popen(
            ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], stderr=subprocess.PIPE
        )
        try:
            wait_for(lambda: (folder / "pid").exists() or process.poll() is not None, "start of nginx")
            assert process.poll() is None, process.communicate()[1]
            yield Proxied(running, plain, secure, authority)
        finally:
            process.terminate()
            process.communicate(timeout=60)


def _filled(text: str, places: dict[str, str]) -> str:
    for told, real in places.items():
        assert text.count(told) == 1, told
        text = text.replace(told, real)
    return text


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Redirects are looked at here, not followed."""


def ask(
    proxied: Proxied, url: str, method: str = "GET", token: str = "", body: bytes | None = None
) -> tuple[int, dict[str, str]]:
    """Status and headers of an answer of nginx."""
    context = ssl.create_default_context(cafile=proxied.authority.file)
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _Stay)
    request = urllib.request.Request(url, body, {"Authorization": f"Bearer {token}"} if token else {}, method=method)
    try:
        with opener.open(request, timeout=60) as response:
            return response.status, dict(response.headers)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, dict(exc.headers)


def test_plain_http_leads_to_https_with_the_same_path(proxied: Proxied) -> None:
    status, headers = ask(proxied, f"http://localhost:{proxied.plain}/v2/a/tags/list?n=1")
    assert status == 308
    assert headers["Location"] == "https://localhost/v2/a/tags/list?n=1"


def test_tokens_and_uploads_have_addresses_that_lead_through_nginx(proxied: Proxied) -> None:
    here = f"https://localhost:{proxied.secure}"
    status, headers = ask(proxied, f"{here}/v2/")
    assert status == 401
    assert f'realm="{here}/v2/token"' in headers["WWW-Authenticate"]
    status, headers = ask(proxied, f"{here}/v2/team/app/blobs/uploads/", "POST", proxied.token, b"")
    assert status == 202
    assert headers["Location"].startswith("/v2/team/app/blobs/uploads/")
    status, _ = ask(proxied, here + headers["Location"], "GET", proxied.token)
    assert status == 204


def test_skopeo_pushes_and_pulls_through_it(proxied: Proxied, tmp_path: Path) -> None:
    digest = oci_layout(tmp_path / "image", os.urandom(30 << 20), os.urandom(1000))
    image = f"docker://localhost:{proxied.secure}/team/app:1.0"
    trust = proxied.authority.trusted
    for copy in (
        (f"--dest-creds=x:{proxied.token}", f"--dest-cert-dir={trust}", f"oci:{tmp_path / 'image'}:x", image),
        (f"--src-creds=x:{proxied.token}", f"--src-cert-dir={trust}", image, f"dir:{tmp_path / 'back'}"),
    ):
        command = ["skopeo", "copy", "--preserve-digests", *copy]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
    assert digest_of((tmp_path / "back" / "manifest.json").read_bytes()) == digest
