from __future__ import annotations

import pytest

from lumper.build.grants import Grants, is_official, syntax_image
from lumper.build.port import BuildRequest, Limits
from lumper.errors import BuildRefused

REQUEST = BuildRequest("1", "app:1")


@pytest.mark.parametrize(
    ("dockerfile", "image"),
    [
        (b"# syntax=docker/dockerfile:1\nFROM x", "docker/dockerfile:1"),
        (b"\xef\xbb\xbf#SYNTAX = docker/dockerfile:1.4  more words\r\nFROM x", "docker/dockerfile:1.4"),
        (b"#!/usr/bin/env x\n# syntax=a/b@sha256:00\nFROM x", "a/b@sha256:00"),
        (b"# escape=`\n# syntax=a/b\nFROM x", "a/b"),
        (b"// syntax=a/b\nFROM x", "a/b"),
        (b'{"syntax": "a/b:1"}', "a/b:1"),
        (b'\n {"x": [1], "syntax": "a/b:1 args"}\nrest', "a/b:1"),
        (b"FROM x\n# syntax=a/b", ""),
        (b"\n# syntax=a/b\nFROM x", ""),
        (b"# a comment\n# syntax=a/b\nFROM x", ""),
        (b'{"syntax": ["a/b"]}', ""),
        (b"[" * 100_000, ""),
        (b"{" + b'"a":{' * 100_000, ""),
        (b"", ""),
    ],
)
def test_the_image_that_is_to_read_the_dockerfile_is_found_where_the_engine_looks_for_it(
    dockerfile: bytes, image: str
) -> None:
    assert syntax_image(dockerfile, {}) == image


def test_an_argument_takes_the_place_of_the_line() -> None:
    assert syntax_image(b"# syntax=docker/dockerfile:1\n", {"BUILDKIT_SYNTAX": "evil/frontend x"}) == "evil/frontend"
    with pytest.raises(BuildRefused):
        Grants().granted(BuildRequest("1", "a", args={"BUILDKIT_SYNTAX": "evil/frontend"}), b"FROM scratch")


@pytest.mark.parametrize(
    "image", ["docker/dockerfile", "docker.io/docker/dockerfile:1-labs", "docker/dockerfile@sha256:0"]
)
def test_the_usual_image_may_be_fetched_and_has_its_like_in_the_engine(image: str) -> None:
    assert is_official(image)
    assert Grants().granted(REQUEST, f"# syntax={image}".encode()).frontend == image
    assert Grants(frontends=()).granted(REQUEST, f"# syntax={image}".encode()).frontend == ""


@pytest.mark.parametrize(
    "image",
    [
        *(
            "evil/frontend",
            "evil.example.org/docker/dockerfile:1",
            "docker/dockerfile-upstream",
            "docker/dockerfilex:1",
        ),
        *("localhost:5000/docker/dockerfile", "docker/dockerfile/x", "dockerfile", "docker.io:443/docker/dockerfile"),
    ],
)
def test_other_images_are_refused_and_the_way_to_allow_them_is_told(image: str) -> None:
    with pytest.raises(BuildRefused, match="does not trust") as caught:
        Grants().granted(REQUEST, f"# syntax={image}".encode())
    assert "[worker] frontends" in caught.value.hint


def test_the_operator_names_images_with_or_without_tags() -> None:
    grants = Grants(frontends=("ghcr.io/us/*", "other/frontend:v1*"), entitlements=("network.host",))
    assert grants.granted(REQUEST, b"# syntax=ghcr.io/us/syntax:9").frontend == "ghcr.io/us/syntax:9"
    assert grants.granted(REQUEST, b"# syntax=other/frontend:v1.2").frontend == "other/frontend:v1.2"
    assert grants.granted(REQUEST, b"FROM scratch").entitlements == ("network.host",)
    for wrong in (b"# syntax=other/frontend:v2", b"# syntax=other/frontend", b"# syntax=ghcr.io/them/syntax"):
        with pytest.raises(BuildRefused):
            grants.granted(REQUEST, wrong)


def test_the_hosts_network_needs_a_grant_and_no_network_does_not() -> None:
    for_host = BuildRequest("1", "app:1", network="host")
    with pytest.raises(BuildRefused, match='network "host"'):
        Grants().granted(for_host, b"FROM scratch")
    assert Grants(entitlements=("network.host",)).granted(for_host, b"FROM scratch").network == "host"
    assert Grants().granted(BuildRequest("1", "app:1", network="none"), b"FROM scratch").network == "none"


def test_a_build_has_the_limits_of_the_worker_or_lower_ones_of_its_own() -> None:
    grants = Grants(limits=Limits(1000, 2.0))

    def given(limits: Limits) -> Limits:
        return grants.granted(BuildRequest("1", "app:1", limits=limits), b"FROM scratch").limits

    assert given(Limits()) == Limits(1000, 2.0)
    assert given(Limits(500, 0.5)) == Limits(500, 0.5)
    assert given(Limits(1000, 2.0)) == Limits(1000, 2.0)
    assert Grants().granted(BuildRequest("1", "a", limits=Limits(7, 1)), b"").limits == Limits(7, 1)
    with pytest.raises(BuildRefused, match="2000 bytes of memory, and this worker gives a build at most 1000"):
        given(Limits(2000, 0.5))
    with pytest.raises(BuildRefused, match=r"2\.5 CPUs"):
        given(Limits(0, 2.5))


@pytest.mark.parametrize(
    ("project", "ref", "agent"),
    [
        ("owner/app", "refs/tags/v1", "/agent"),
        ("owner/app", "refs/heads/main", "/agent"),
        ("owner/app", "refs/heads/wip", ""),
        ("owner/app", "refs/pull/1/head", ""),
        ("team/one", "refs/tags/v1", "/agent"),
        ("team/one", "refs/heads/main", ""),
        ("other/app", "refs/tags/v1", ""),
    ],
)
def test_the_agent_of_the_worker_is_for_the_projects_and_branches_that_the_operator_names(
    project: str, ref: str, agent: str
) -> None:
    grants = Grants(agent="/agent", agent_for={"owner/app": ("main",), "team/*": ()})
    assert grants.agent_of(project, ref) == agent
    assert Grants(agent="/agent").agent_of(project, ref) == ""
