from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumper.build.engines.buildkit.request import CONTAINERD, MOBY, Exporter, solve_request
from lumper.build.engines.buildkit.session.services import services
from lumper.build.engines.buildkit.session.session import messages
from lumper.build.engines.buildkit.transport.address import Address, parse_address
from lumper.build.port import BuildRequest, Cache, Login
from lumper.errors import ConfigError
from lumper.model.builds.build import Base


def test_a_request_names_the_result_in_the_old_and_the_new_way() -> None:
    request = BuildRequest(
        "7", "registry.test/app:1", "docker/Dockerfile", "app", {"A": "1"}, {"org.test": "x=y"}, no_cache=True,
        context_folder="aside",
    )  # fmt: skip

    message = solve_request(request, ref="ref", session="session", context="http://buildkit-session/up")

    assert (message.Ref, message.Session, message.Frontend) == ("ref", "session", "dockerfile.v0")
    assert dict(message.FrontendAttrs) == {
        "context": "http://buildkit-session/up",
        "cmdline": "docker/dockerfile",
        "filename": "docker/Dockerfile",
        "contextsubdir": "aside",
        "target": "app",
        "no-cache": "",
        "build-arg:A": "1",
        "label:org.test": "x=y",
    }
    assert (message.ExporterDeprecated, dict(message.ExporterAttrsDeprecated)) == (
        "moby",
        {"name": "registry.test/app:1"},
    )
    assert [(e.Type, dict(e.Attrs)) for e in message.Exporters] == [("moby", {"name": "registry.test/app:1"})]


def test_a_plain_request_asks_for_nothing_more() -> None:
    message = solve_request(BuildRequest("7", "app:1"), ref="r", session="s", context="http://buildkit-session/up")

    assert set(message.FrontendAttrs) == {"context", "filename", "cmdline"}
    assert list(message.Entitlements) == []


def test_bases_are_pinned_by_contexts_of_their_names() -> None:
    request = BuildRequest("7", "app:1", bases=(Base("docker.io/library/alpine:3.20", "sha256:ab"),))
    message = solve_request(request, ref="r", session="s", context="c")
    assert message.FrontendAttrs["context:alpine:3.20"] == "docker-image://docker.io/library/alpine:3.20@sha256:ab"


def test_a_syntax_image_is_looked_for_only_where_one_was_granted() -> None:
    request = BuildRequest("7", "app:1", frontend="docker/dockerfile:1", entitlements=("network.host",))
    message = solve_request(request, ref="r", session="s", context="c")
    assert "cmdline" not in message.FrontendAttrs
    assert list(message.Entitlements) == ["network.host"]


@given(st.lists(st.binary(max_size=50), max_size=10), st.integers(1, 40))
async def test_a_context_is_sent_whole_in_equal_pieces(chunks: list[bytes], size: int) -> None:
    async def context() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    pieces = [piece async for piece in messages(context(), size)]

    assert b"".join(pieces) == b"".join(chunks)
    assert all(len(piece) == size for piece in pieces[:-1])
    assert all(0 < len(piece) <= size for piece in pieces)


@pytest.mark.parametrize(
    ("text", "address", "url"),
    [
        ("unix:///var/run/docker.sock", Address("", path="/var/run/docker.sock"), "http://docker"),
        ("tcp://build.test:2375", Address("", host="build.test", port=2375), "http://build.test:2375"),
        ("tcp://[::1]:2375", Address("", host="::1", port=2375), "http://[::1]:2375"),
    ],
)
def test_addresses_are_sockets_or_hosts_with_a_port(text: str, address: Address, url: str) -> None:
    found = parse_address(text)

    assert (found.path, found.host, found.port, found.url) == (address.path, address.host, address.port, url)
    assert text in str(found.unavailable("gone"))


@pytest.mark.parametrize(
    "text",
    [
        "unix://",
        "unix:///",
        "unix://relative/path",
        "/var/run/docker.sock",
        "docker.sock",
        "tcp://host",
        "tcp://:2375",
        "tcp://host:port",
        "tcp://host:99999",
        "tcp://host:2375/path",
        "ssh://host",
        "http://host:80",
    ],
)
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="unix:///path nor tcp://host:port"):
        parse_address(text)


def test_a_socket_without_rights_says_how_to_get_them() -> None:
    error = parse_address("unix:///run/docker.sock").unavailable(PermissionError(13, "Permission denied"))

    assert error.message == "The build engine at unix:///run/docker.sock cannot be reached: Permission denied."
    assert "group `docker`" in error.hint


def test_all_that_a_build_may_ask_for_is_handed_on() -> None:
    request = BuildRequest(
        "7",
        "app:1",
        platforms=("linux/amd64", "linux/arm64"),
        cache_from=(Cache("registry", {"ref": "r.test/cache"}),),
        cache_to=(Cache("registry", {"ref": "r.test/cache", "mode": "max"}), Cache("inline")),
        network="none",
        pull=True,
        provenance="max",
        sbom=True,
        rewrite_timestamp=True,
    )

    message = solve_request(request, ref="r", session="s", context="c", exporter=Exporter("oci", {"tar": "false"}))

    attributes = dict(message.FrontendAttrs)
    assert json.loads(attributes.pop("cache-imports")) == [{"Type": "registry", "Attrs": {"ref": "r.test/cache"}}]
    assert attributes == {
        "context": "c",
        "filename": "Dockerfile",
        "cmdline": "docker/dockerfile",
        "platform": "linux/amd64,linux/arm64",
        "force-network-mode": "none",
        "image-resolve-mode": "pull",
        "attest:provenance": "mode=max",
        "attest:sbom": "",
    }
    assert [(e.Type, dict(e.Attrs)) for e in message.Cache.Exports] == [
        (
            "registry",
            {"ref": "r.test/cache", "mode": "max", "image-manifest": "true", "oci-mediatypes": "true"},
        ),
        ("inline", {}),
    ]
    assert [(e.Type, dict(e.Attrs)) for e in message.Cache.Imports] == [("registry", {"ref": "r.test/cache"})]
    assert [(e.Type, dict(e.Attrs)) for e in message.Exporters] == [
        ("oci", {"name": "app:1", "tar": "false", "rewrite-timestamp": "true"})
    ]


def test_secrets_are_in_no_message() -> None:
    request = BuildRequest("7", "app:1", secrets={"token": b"hunter2"}, logins={"r.test": Login("me", "hunter3")})
    message = solve_request(request, ref="r", session="s", context="c")
    assert b"hunter" not in message.SerializeToString()


def test_only_what_the_request_has_is_offered() -> None:
    def offered(request: BuildRequest) -> set[str]:
        return {path.rpartition("/")[2] for service in services(request) for path in service.__mapping__()}

    assert offered(BuildRequest("7", "app:1")) == set()
    assert offered(BuildRequest("7", "app:1", secrets={"a": b"b"})) == {"GetSecret"}
    assert offered(BuildRequest("7", "app:1", ssh={"default": "/s"})) == {"CheckAgent", "ForwardAgent"}
    assert offered(BuildRequest("7", "app:1", logins={"r.test": Login("a", "b")})) == {"Credentials"}


def test_an_engine_that_keeps_images_in_containerd_gets_whole_names() -> None:
    request = BuildRequest("b1", "app:1")
    for exporter, name in ((CONTAINERD, "docker.io/library/app:1"), (MOBY, "app:1")):
        message = solve_request(request, ref="ref", session="s", context="", exporter=exporter)
        assert message.Exporters[0].Attrs["name"] == name
