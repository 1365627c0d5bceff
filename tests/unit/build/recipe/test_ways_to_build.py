"""What a recipe says of how to build: several images, what builds are given, templates of tags, other registries."""

from __future__ import annotations

import pytest

from lumper.build.port import Limits
from lumper.build.recipe.asked import OWN_CACHE, Asked, Caching, RecipePlace
from lumper.build.recipe.recipe import Conditions, parse_recipes
from lumper.build.recipe.tag_templates import Flavor, Template
from lumper.errors import RecipeError
from parts.git.recipes import parse_recipe, problems_of

SEVERAL = """
[on]
branches = ["main"]

[image.web]
context = "web"
tags = ["ref:tag"]

[image.api]
dockerfile = "api/Dockerfile"
image = ""
on = { paths = ["api/**"] }

[image.tools]
image = "extra/tools"

[deploy]
image = "api"
"""


def test_a_file_may_have_several_images() -> None:
    read = parse_recipes(SEVERAL.encode(), "owner/app")
    assert read.several
    assert [(each.name, each.image) for each in read.recipes] == [("web", "web"), ("api", ""), ("tools", "extra/tools")]
    assert read.conditions.branches == ("main",)
    assert [each.conditions for each in read.recipes] == [Conditions(), Conditions(paths=("api/**",)), Conditions()]
    assert [each.service is not None for each in read.recipes] == [False, True, False]
    assert read.named("web").context == "web"
    with pytest.raises(RecipeError, match=r"no \[image\.gone\]"):
        read.named("gone")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[build]\n[image.a]\n", "either [build] or [image.NAME]"),
        ("[image.a]\n[deploy]\n", "[deploy] needs `image`, one of a"),
        ("[image.a]\n[deploy]\nimage = 'b'", "[deploy] needs `image`, one of a"),
        ("[deploy]\nimage = 'b'", "there is no [image.NAME] table"),
        ("[image.a]\n[image.b]\nimage = 'a'", "the same repository"),
        ("[image.'../x']\n", "the name of an image"),
        ("[image.a]\nimage = '../other'", "a repository below the project's"),
        ("[image.a]\nimage = '/other'", "a repository below the project's"),
        ("[image.a]\ncontxt = 'x'", "did you mean `context`?"),
        ("[image.a.flavor]\nlatests = true", "did you mean `latest`?"),
        ("".join(f"[image.a{number}]\n" for number in range(51)), "at most 50"),
    ],
)
def test_images_that_cannot_be_meant_are_refused(text: str, words: str) -> None:
    assert words in "\n".join(problems_of(text))


ASKED = """
[build]
platforms = ["linux/amd64", "linux/arm/v7"]
cache = { from = [":buildcache", "r.example.com/app:cache", "localhost:5000/x"], to = ["inline"], mode = "min" }
network = "none"
memory = "1GiB"
cpus = 1.5
timeout = 60
silence_timeout = 5
provenance = "max"
sbom = true
reproducible = true
"""


def test_a_recipe_says_how_to_build() -> None:
    assert parse_recipe(ASKED.encode(), "a/b").asked == Asked(
        platforms=("linux/amd64", "linux/arm/v7"),
        cache=Caching((":buildcache", "r.example.com/app:cache", "localhost:5000/x"), ("inline",), whole=False),
        network="none",
        limits=Limits(1 << 30, 1.5),
        timeout=60,
        silence=5,
        provenance="max",
        sbom=True,
        reproducible=True,
    )


def test_each_of_several_images_is_built_in_its_own_way() -> None:
    first, second = parse_recipes(b"[image.a]\ncache = true\n[image.b]\ncpus = 1\n[image.b.cache]\n", "a/b").recipes
    assert first.asked == Asked(cache=OWN_CACHE)
    assert second.asked == Asked(limits=Limits(0, 1.0))
    assert parse_recipe(b"[build]\ncache = false", "a/b").asked == Asked()


def test_all_that_is_wrong_with_how_to_build_is_told_at_once() -> None:
    text = """\
[build]
platforms = ["linux", "Linux/AMD64", "--push/x"]
network = "bridge"
memory = "1Mi B"
cpus = 0
timeout = -1
silence_timeout = "5m"
provenance = true
reproducible = "yes"
sbom = 1
[build.cache]
from = ["team/app:cache", ":latest", "inline"]
to = ["r.example.com/A:b"]
form = []
mode = "all"
"""
    assert problems_of(text) == [
        "line 2: build.platforms.0: 'linux' is not a platform, such as linux/arm64 or linux/arm/v7",
        "line 2: build.platforms.1: 'Linux/AMD64' is not a platform, such as linux/arm64 or linux/arm/v7",
        "line 2: build.platforms.2: '--push/x' is not a platform, such as linux/arm64 or linux/arm/v7",
        'line 3: build.network: give "none" or "host"; without the key it is the engine\'s own network',
        "line 4: build.memory: give a number of bytes, or one with KiB, MiB, GiB or TiB",
        "line 5: build.cpus: give a number of 0.01 or more",
        "line 6: build.timeout: give a number greater than 0",
        "line 7: build.silence_timeout: give a number",
        'line 8: build.provenance: give "min" or "max"',
        "line 9: build.reproducible: give true or false",
        "line 10: build.sbom: give true or false",
        "line 12: build.cache.from.0: 'team/app:cache': name the registry too, such as registry.example.com/team/app",
        "line 12: build.cache.from.1: ':latest': tags for caches are :buildcache and :buildcache-NAME",
        "line 12: build.cache.from.2: 'inline': name the registry too, such as registry.example.com/team/app",
        "line 13: build.cache.to.0: 'r.example.com/A:b' is not the name of an image",
        "line 14: build.cache.form: there is no such key; did you mean `from`?",
        'line 15: build.cache.mode: give "min" or "max"',
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("cache = 'yes'", 'give true, or a table { from = ["…"], to = ["…"] }'),
        ("platforms = ['a/b', 'a/b']", "'a/b' is there twice"),
        ("memory = true", "give a whole number"),
        ("latest = true", "there is no such key here; it belongs under [build.flavor]"),
        ("push = [{ tags = ['raw:x'] }]", "this key is needed"),
        ("memory = '1MiB'", "give a number of 6291456 or more"),
        ("cpus = inf", "give a finite number"),
    ],
)
def test_what_a_way_to_build_may_be(text: str, problem: str) -> None:
    (told,) = problems_of(f"[build]\n{text}")
    assert told.endswith(problem)


def test_all_keys_of_templates_and_flavor_reach_their_place() -> None:
    text = """
        [build]
        flavor = { prefix = "a-{{branch}}-", on_latest = "prefix" }
        tags = [
            { template = "semver:{{version}}", match = "web/v(.*)", value = "{{tag}}", priority = 7, tags = ["web/*"] },
            { template = "raw:never", enable = false },
            "sha",
        ]
    """
    recipe = parse_recipe(text.encode(), "a/b")
    assert recipe.flavor == Flavor(prefix="a-{{branch}}-", on_latest="prefix")
    assert recipe.tags == (
        Template("semver:{{version}}", match="web/v(.*)", value="{{tag}}", priority=7, tags=("web/*",)),
        Template("sha"),
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('tags = [{ template = "raw:x", value = "v1" }]', "it stands for the git tag"),
        ('tags = [{ template = "semver:{{version}}", match = "(a+)+" }]', "in a pattern no group repeats"),
        ('flavor = { on_latest = "both" }', 'give true, false, "prefix" or "suffix"'),
        ("flavor = { prefix = \"{{date 'YYYY' tz='Mars/Olympus'}}\" }", "there is no time zone 'Mars/Olympus'"),
    ],
)
def test_what_a_template_and_a_flavor_may_not_be(text: str, problem: str) -> None:
    (told,) = problems_of(f"[build]\n{text}")
    assert problem in told
    assert told.startswith("line 2: ")


def test_an_image_goes_to_other_registries_too() -> None:
    text = b'[build]\npush = ["r.example.com/team/app", { to = "docker.io/team/app", tags = ["raw:edge"] }]\n'
    assert parse_recipe(text, "a/b").asked.push == (
        RecipePlace("r.example.com/team/app"),
        RecipePlace("docker.io/team/app", (Template("raw:edge"),)),
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('push = ["team/app"]', "build.push.0.to: 'team/app': name the registry too"),
        ('push = ["r.example.com/app:1"]', "build.push.0.to: 'r.example.com/app:1': the tags are those of the image"),
        ('push = [{ too = "r.example.com/app" }]', "build.push.0.too: there is no such key; did you mean `to`?"),
        ('push = [{ to = "r.example.com/app", tags = ["ref"] }]', "build.push.0.tags.0.template: "),
        ("push = [1]", "build.push.0: give a table"),
        ('secrets = ["a b"]', "build.secrets.a b: 'a b' is not the name of a secret"),
        ("secrets = [1]", "build.secrets: give names"),
        ('secrets = "npm"', "build.secrets: give names"),
        ('secrets = ["a", "a"]', "build.secrets: 'a' is there twice"),
        ("ssh = 'x'", "build.ssh: give a list"),
        ('ssh = ["a", "a"]', "build.ssh: 'a' is there twice"),
    ],
)
def test_what_is_wrong_with_what_builds_are_given_and_where_images_go(text: str, problem: str) -> None:
    assert any(problem in told for told in problems_of(f"[build]\n{text}")), problems_of(f"[build]\n{text}")
