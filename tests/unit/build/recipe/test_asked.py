from __future__ import annotations

from dataclasses import replace

import pytest

from lumper.build.plan import parameters
from lumper.build.port import BuildRequest, Cache, Capability, Limits
from lumper.build.recipe.asked import (
    OWN_CACHE,
    Asked,
    Caching,
    reference_problem,
    shorter,
    without_spare_caches,
)
from lumper.build.recipe.recipe import Recipe

REQUEST = BuildRequest("1", "r:5000/owner/app:_build-1-1")
OWN = "r:5000/owner/app"


def test_what_is_asked_for_gets_into_the_request() -> None:
    asked = Asked(
        platforms=("linux/arm64",),
        network="none",
        limits=Limits(1, 2.0),
        provenance="max",
        sbom=True,
        reproducible=True,
        timeout=5,
    )
    assert asked.put_into(REQUEST, OWN) == replace(
        REQUEST,
        platforms=("linux/arm64",),
        network="none",
        limits=Limits(1, 2.0),
        provenance="max",
        sbom=True,
        rewrite_timestamp=True,
    )
    assert Asked().put_into(REQUEST, OWN) == REQUEST


def test_caches_are_of_the_own_repository_or_of_any_other_or_within_the_image() -> None:
    caching = Caching((":buildcache-x", "a.example.com/b"), (":buildcache", "inline"), whole=False)
    request = Asked(cache=caching).put_into(REQUEST, OWN)
    assert request.cache_from == (
        Cache("registry", {"ref": f"{OWN}:buildcache-x"}),
        Cache("registry", {"ref": "a.example.com/b"}),
    )
    plain = {"image-manifest": "true", "oci-mediatypes": "true"}
    assert request.cache_to == (
        Cache("registry", {"ref": f"{OWN}:buildcache", "mode": "min", **plain}),
        Cache("inline"),
    )


def test_a_cache_that_is_wanted_only_where_it_can_be_is_left_out_elsewhere() -> None:
    request = Asked(cache=OWN_CACHE).put_into(REQUEST, OWN)
    both = frozenset({Capability.CACHE_IMPORT, Capability.CACHE_EXPORT})
    assert without_spare_caches(request, both) == request
    for less in both:
        assert without_spare_caches(request, both - {less}) == REQUEST


@pytest.mark.parametrize(
    ("asked", "most", "given"), [(0, 0, 0), (0, 9, 9), (5, 0, 5), (5, 9, 5), (9, 5, 5), (0.5, 9, 0.5)]
)
def test_a_recipe_can_only_shorten_a_limit_of_the_worker(asked: float, most: float, given: float) -> None:
    assert shorter(asked, most) == given


@pytest.mark.parametrize(
    "name", ["a.b/c", "localhost/c", "[::1]:5000/c/d:x", "127.0.0.1:5000/c", "A.example.COM:443/c:v1", "h:1/c"]
)
def test_an_image_in_some_registry_has_a_name(name: str) -> None:
    assert reference_problem(name) == ""


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "c",
        "a/c",
        "a.b/",
        "a.b/C",
        "a.b/c:",
        "a.b/c:x y",
        "a.b/c@sha256:" + "0" * 64,
        "-o.b/c",
        "https://a.b/c",
        "a.b/../c",
        "user@a.b/c",
        "a.b:x/c",
        "a.b/c\n",
    ],
)
def test_what_is_no_name_of_an_image_in_a_registry_is_refused(name: str) -> None:
    assert reference_problem(name)


def test_the_provenance_tells_how_it_was_built() -> None:
    asked = Asked(platforms=("linux/arm64",), network="none", cache=OWN_CACHE, reproducible=True)
    told = parameters(Recipe(asked=asked))
    assert told["platforms"] == ["linux/arm64"]
    assert told["network"] == "none"
    assert told["cache"] == {"from": [":buildcache"], "to": [":buildcache"]}
    assert told["reproducible"]
    assert set(parameters(Recipe())) == {"context", "dockerfile", "target", "args", "labels"}
