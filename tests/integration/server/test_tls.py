"""TLS in the server itself, with a CA that only the test knows: real clients outside, plain HTTP for parts inside."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dxf import DXF, DXFBase

from parts.engines import newer_engine
from parts.engines.containerd import containerd
from parts.processes.command_line import lumper
from parts.processes.lumper_process import LumperServer
from parts.registries.image_files import layer_of, oci_layout
from parts.registries.live_registry import digest_of
from parts.servers.certificates import Authority, Pair
from parts.servers.own_address import own_address
from parts.servers.ports import free_ports

pytestmark = [pytest.mark.docker, pytest.mark.system]

ENGINE_CERTIFICATES = Path("/etc/docker/certs.d")


@dataclass(frozen=True)
class Served:
    """A server behind TLS. `host` is where clients reach it; `lumper` itself is asked over plain HTTP on loopback."""

    lumper: LumperServer
    host: str
    authority: Authority
    pair: Pair

    @property
    def token(self) -> str:
        return (self.lumper.data / "tokens" / "operator").read_text().strip()

    @property
    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.authority.file)

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes, str]:
        """Status, body and location of an answer over TLS."""
        request = urllib.request.Request(f"https://{self.host}{path}", body, headers, method=method)
        request.add_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, context=self.context, timeout=60) as response:
                return response.status, response.read(), response.headers.get("Location", "")
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, exc.read(), ""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with own_address() as here:  # of loopback the engine would not want a certificate
        folder = tmp_path_factory.mktemp("tls")
        authority = Authority(folder / "ca")
        pair = authority.certificate(here)
        (port,) = free_ports(1)
        settings = {
            "server.tls_certificate": str(pair.certificate),
            "server.tls_key": str(pair.key),
            "server.listen": f"{here}:{port}",
        }
        with LumperServer(folder / "data", settings, role="registry", behind_tls=True) as running:
            yield Served(running, f"{here}:{port}", authority, pair)


def run(*command: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 or not check, f"{command}: {done.stderr}"
    return done


def test_the_public_address_is_https_and_tokens_are_had_there(served: Served) -> None:
    served.lumper.wait_until_said(f"Lumper answers at https://{served.host}\n")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"https://{served.host}/v2/", context=served.context, timeout=60)
    with refused.value as answer:
        assert f'realm="https://{served.host}/v2/token"' in answer.headers["WWW-Authenticate"]


def test_the_command_line_finds_the_server_through_the_data_folder(served: Served) -> None:
    listed = lumper("token", "list", "--json", "--data", served.lumper.data).json
    assert "operator" in [token["name"] for token in listed]


def test_the_command_line_reaches_it_over_tls_with_the_private_ca(served: Served, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(served.token)
    there = ("token", "list", "--json", "--server", f"https://{served.host}", "--token-file", tmp_path / "token")
    assert lumper(*there, settings={"SSL_CERT_FILE": str(served.authority.file)}).json
    refused = lumper(*there)
    assert refused.status == 1
    assert "certificate" in refused.err
    assert "SSL_CERT_FILE=" in refused.err


def test_a_large_blob_comes_back_as_it_went_whole_and_in_ranges(served: Served) -> None:
    data = os.urandom(9 << 20)
    digest = digest_of(data)
    status, _, _ = served.request("POST", f"/v2/team/tls/blobs/uploads/?digest={digest}", data)
    assert status == 201
    blob = f"/v2/team/tls/blobs/{digest}"
    assert served.request("GET", blob)[:2] == (200, data)
    assert served.request("GET", blob, Range="bytes=1000000-5000000")[:2] == (206, data[1_000_000:5_000_001])


def test_skopeo_pushes_and_pulls_and_trusts_no_other_ca(served: Served, tmp_path: Path) -> None:
    digest = oci_layout(tmp_path / "image", os.urandom(5 << 20))
    image = f"docker://{served.host}/team/app:1.0"
    trusted = served.authority.trusted
    push = ("skopeo", "copy", "--preserve-digests", f"--dest-creds=x:{served.token}", f"oci:{tmp_path / 'image'}:x")
    run(*push, f"--dest-cert-dir={trusted}", image)
    back = f"dir:{tmp_path / 'back'}"
    run("skopeo", "copy", f"--src-creds=x:{served.token}", f"--src-cert-dir={trusted}", image, back)
    assert digest_of((tmp_path / "back" / "manifest.json").read_bytes()) == digest

    stranger = Authority(tmp_path / "stranger").trusted
    assert "certificate" in run(*push, f"--dest-cert-dir={stranger}", image, check=False).stderr


def test_the_docker_engine_pushes_and_pulls_once_it_knows_the_ca(served: Served, tmp_path: Path) -> None:
    image = f"{served.host}/team/engine:1.0"
    docker = ("docker", "--config", tmp_path / "docker")
    (tmp_path / "docker").mkdir()
    (tmp_path / "layer.tar").write_bytes(layer_of(("hello", b"world")))
    run(*docker, "import", tmp_path / "layer.tar", image)
    known = ENGINE_CERTIFICATES / served.host
    try:
        sign_in = (*docker, "login", served.host, "-u", "x", "-p", served.token)
        assert "certificate" in run(*sign_in, check=False).stderr
        known.mkdir(parents=True)
        shutil.copy(served.authority.file, known / "ca.crt")
        run(*sign_in)
        run(*docker, "push", image)
        run(*docker, "rmi", image)
        run(*docker, "pull", image)
    finally:
        shutil.rmtree(known, ignore_errors=True)
        run(*docker, "rmi", image, check=False)
    assert (
        served.request("GET", "/v2/team/engine/tags/list")[1]
        == json.dumps({"name": "team/engine", "tags": ["1.0"]}).encode()
    )


def test_python_dxf_pushes_pulls_lists_and_deletes(served: Served, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(content := os.urandom(3_000_000))

    def sign_in(client: Any, response: Any) -> None:
        client.authenticate("x", served.token, response=response)

    client = DXF(served.host, "team/data", sign_in, tlsverify=str(served.authority.file))
    digest = client.push_blob(str(tmp_path / "data"))
    client.set_alias("v1", digest)
    assert client.get_alias("v1") == [digest]
    pieces: Any = client.pull_blob(digest)
    assert b"".join(pieces) == content
    assert client.list_aliases() == ["v1"]
    listed = DXFBase(served.host, sign_in, tlsverify=str(served.authority.file)).list_repos()
    assert "team/data" in listed
    client.del_alias("v1")
    assert client.list_aliases() == []


async def test_containerd_pushes_and_pulls_with_the_ca_that_its_hosts_file_names(
    served: Served, tmp_path: Path
) -> None:
    oci_layout(tmp_path / "image", layer_of(("hello", b"world")))
    with tarfile.open(tmp_path / "image.tar", "w") as archive:
        archive.add(tmp_path / "image", arcname=".")
    hosts = tmp_path / "certs.d" / served.host / "hosts.toml"
    hosts.parent.mkdir(parents=True)
    hosts.write_text(f'[host."https://{served.host}"]\n  ca = "{served.authority.file}"\n')
    name = f"{served.host}/team/containerd:1"
    known = ("--hosts-dir", tmp_path / "certs.d", "--user", f"x:{served.token}")
    async with containerd() as ctr:
        run(*ctr, "images", "import", "--no-unpack", "--base-name", "made", tmp_path / "image.tar")
        run(*ctr, "images", "tag", "made:x", name)
        assert "certificate" in run(*ctr, "images", "push", *known[2:], name, check=False).stderr
        run(*ctr, "images", "push", *known, name)
        run(*ctr, "images", "rm", "--sync", name, "made:x")
        run(*ctr, "images", "pull", *known, "--snapshotter", "native", name)


def test_an_engine_that_keeps_images_in_containerd_pushes_and_pulls_once_its_system_knows_the_ca(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = f"{served.host}/team/engine-of-containerd:1.0"
    (tmp_path / "docker").mkdir()
    (tmp_path / "layer.tar").write_bytes(layer_of(("hello", b"world")))
    # Where the system's CAs are, for programs in Go. That engine fetches tokens without those of /etc/docker/certs.d.
    monkeypatch.setenv("SSL_CERT_FILE", str(served.authority.file))
    with newer_engine.newer_engine() as socket:
        docker = ("docker", "--host", f"unix://{socket}", "--config", tmp_path / "docker")
        run(*docker, "login", served.host, "-u", "x", "-p", served.token)
        run(*docker, "import", tmp_path / "layer.tar", image)
        run(*docker, "push", image)
        run(*docker, "rmi", image)
        run(*docker, "pull", image)
    assert json.loads(served.request("GET", "/v2/team/engine-of-containerd/tags/list")[1])["tags"] == ["1.0"]


def test_a_server_whose_files_do_not_fit_says_so_and_does_not_begin(served: Served, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("no key")
    settings = {
        "LUMPER_SERVER_TLS_CERTIFICATE": str(served.pair.certificate),
        "LUMPER_SERVER_TLS_KEY": str(tmp_path / "key"),
    }
    start = ("registry", "--listen", "127.0.0.1:0", "--data", tmp_path / "data")
    assert "are not a certificate and its key in PEM" in lumper(*start, settings=settings).trouble
    del settings["LUMPER_SERVER_TLS_KEY"]
    assert "give both tls_certificate and tls_key" in lumper(*start, settings=settings).trouble
    assert "loopback" in lumper(*start, settings={"LUMPER_SERVER_LOCAL_LISTEN": "0.0.0.0:5081"}).trouble
