"""What engines can, and the refusal of what one cannot."""

from __future__ import annotations

import pytest

from lumper.build.capabilities import CAPABILITIES, needs, refuse
from lumper.build.port import BuildRequest, Cache, Capability, EngineInfo, Limits, Login
from lumper.errors import EngineLacks

PLAIN = BuildRequest("1", "localhost/app:1", platforms=("linux/amd64",))
WANTS_ALL = BuildRequest(
    "1",
    "localhost/app:1",
    platforms=("linux/amd64", "linux/arm64"),
    secrets={"npm": b"s3cret"},
    ssh={"default": "/run/agent.sock"},
    logins={"registry.example.com": Login("reader", "hunter2")},
    cache_from=(Cache("registry", {"ref": "registry.example.com/cache"}),),
    cache_to=(Cache("registry", {"ref": "registry.example.com/cache"}), Cache("inline")),
    network="none",
    limits=Limits(memory=1 << 30),
    provenance="min",
    rewrite_timestamp=True,
)


def test_a_plain_build_needs_nothing() -> None:
    assert needs(PLAIN) == {}


def test_everything_that_can_be_asked_for_is_seen() -> None:
    asked = set(needs(WANTS_ALL)) | set(needs(BuildRequest("1", "a:1", network="host", context_folder="in")))
    assert asked == set(Capability)


def test_what_the_engine_has_is_not_refused() -> None:
    refuse(WANTS_ALL, EngineInfo("x", "X 1", "linux/amd64", frozenset(Capability)))


def test_the_refusal_tells_what_lacks_for_what_and_who_would_do() -> None:
    request = BuildRequest("1", "localhost/app:1", platforms=("linux/amd64", "linux/arm64"))
    with pytest.raises(EngineLacks, match=r"images for several platforms \(linux/amd64, linux/arm64\)") as caught:
        refuse(request, EngineInfo("buildkit", "Docker 20.10.24", "linux/amd64", CAPABILITIES["a Docker Engine"]))
    assert "Docker 20.10.24" in caught.value.message
    assert "buildkitd" in caught.value.hint
    assert "a Docker Engine," not in caught.value.hint
    assert not caught.value.temporary


def test_what_no_engine_can_is_said() -> None:
    with pytest.raises(EngineLacks) as caught:
        refuse(WANTS_ALL, EngineInfo("x", "X 1", "linux/amd64"))
    assert "No engine that Lumper knows" in caught.value.hint


def test_no_secret_is_told() -> None:
    with pytest.raises(EngineLacks) as caught:
        refuse(WANTS_ALL, EngineInfo("x", "X 1", "linux/amd64"))
    told = caught.value.message + caught.value.hint + repr(WANTS_ALL)
    assert "s3cret" not in told
    assert "hunter2" not in told
