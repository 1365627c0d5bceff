from __future__ import annotations

import pytest

from lumper.build.port import Limits
from lumper.build.recipe.asked import OWN_CACHE, Asked, Caching, Place
from lumper.build.recipe.recipe import RECIPE_LIMIT, Conditions, Recipe, parse_recipes, read_recipes, service_name
from lumper.build.recipe.tag_templates import Flavor, Template
from lumper.errors import MirrorDamaged, RecipeError, SourceError
from lumper.model.deployment import Health, Port, Service

FULL = """
[build]
dockerfile = "docker/./app.Dockerfile"
context = "services/app/"
target = "runtime"
args = { VERSION = "1", EMPTY = "" }

[deploy]
name = "web"
ports = [80, "81", "8080:82", "0.0.0.0:8083:83/udp", "[::1]:8084:84", ":85"]
env = { TZ = "UTC" }
volumes = { data = "/var/lib/data" }
command = ["serve", "--port", "80"]
stop_timeout = 30

[deploy.health]
http = "/healthz"
interval = 0.2
timeout = 60
stable = 5
"""


def parse_recipe(content: bytes, project: str) -> Recipe:
    """The only recipe of a file that has one."""
    (recipe,) = parse_recipes(content, project).recipes
    return recipe


def problems_of(text: str | bytes) -> list[str]:
    """The problems of a recipe, as a person reads them."""
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text.encode() if isinstance(text, str) else text, "owner/app")
    assert caught.value.name == "lumper.toml"
    return [str(problem) for problem in caught.value.problems]


def test_every_key_reaches_its_place() -> None:
    assert parse_recipe(FULL.encode(), "owner/app") == Recipe(
        dockerfile="docker/app.Dockerfile",
        context="services/app",
        target="runtime",
        args={"VERSION": "1", "EMPTY": ""},
        service=Service(
            name="web",
            ports=(
                Port(80),
                Port(81),
                Port(82, 8080),
                Port(83, 8083, "0.0.0.0", "udp"),
                Port(84, 8084, "::1"),
                Port(85),
            ),
            env={"TZ": "UTC"},
            volumes={"data": "/var/lib/data"},
            command=("serve", "--port", "80"),
            health=Health(http="/healthz", port=80, interval=0.2, timeout=60, stable=5),
            stop_timeout=30,
        ),
    )


@pytest.mark.parametrize("text", ["", "[build]", "# nothing\n", "\ufeff[build]\r\n"])
def test_what_is_not_written_is_the_default(text: str) -> None:
    assert parse_recipe(text.encode(), "owner/app") == Recipe()


def test_a_deploy_table_alone_runs_the_image_under_the_projects_name() -> None:
    assert parse_recipe(b"[deploy]", "group/My App").service == Service(name="my-app")


@pytest.mark.parametrize(
    ("project", "name"),
    [("a/b", "b"), ("x", "x"), ("a/--", "service"), ("a/" + "ü" * 9, "service"), ("a/B_c.d", "b_c.d")],
)
def test_a_service_always_has_a_legal_name(project: str, name: str) -> None:
    assert service_name(project) == name


def test_volumes_may_be_a_list() -> None:
    service = parse_recipe(b'[deploy]\nvolumes = ["data:/data", "log:/var/log/app"]', "a/b").service
    assert service is not None
    assert service.volumes == {"data": "/data", "log": "/var/log/app"}


def test_all_problems_are_told_at_once_each_with_its_line() -> None:
    text = """\
dockerfile = "x"
[biuld]
[build]
dockerfle = "x"
args = { A = 1 }
context = "../.."
[deploy]
ports = [
    80,
    "9000-9010:80",
    true,
]
volumes = { "/etc" = "/x" }
[deploy.health]
timeout = "1s"
"""
    assert problems_of(text) == [
        "line 1: dockerfile: there is no such key here; it belongs under [build] or [image.NAME]",
        "line 2: biuld: there is no such key; did you mean `build`?",
        "line 4: build.dockerfle: there is no such key; did you mean `dockerfile`?",
        "line 5: build.args.A: give text in quotes",
        "line 6: build.context: the path may not leave the repository: `..` is not allowed",
        "line 10: deploy.ports.1: '9000-9010:80': ranges are not supported; list each port",
        'line 11: deploy.ports.2: give a port such as 80, "8080:80" or "127.0.0.1:8080:80/tcp"',
        "line 13: deploy.volumes./etc: '/etc' is a path of the host: a repository may not reach into the machine"
        " that runs it; use a named volume",
        "line 15: deploy.health.timeout: give a number",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[build]\ndockerfile = '/etc/passwd'", "line 2: build.dockerfile: give a path relative to the repository"),
        ("[build]\ndockerfile = 'a/../../x'", "line 2: build.dockerfile: the path may not leave"),
        ("[build]\ndockerfile = ''", "line 2: build.dockerfile: give a path"),
        ('[build]\ndockerfile = "a\\u0000b"', "line 2: build.dockerfile: give a path"),
        ('[build]\ncontext = "a\\nb"', "line 2: build.context: give a path"),
        ('[build]\nargs = { "A=B" = "1" }', "line 2: build.args.A=B: the name of a variable"),
        ('[build]\nargs = { A = "\\u0000" }', "line 2: build.args.A: a NUL character"),
        ("[build]\ntarget = true", "line 2: build.target: give text in quotes"),
        ("build = 1", "line 1: build: give a table"),
        ("[deploy]\nname = '-x'", "line 2: deploy.name: a name has up to 63"),
        ("[deploy]\nports = 80", "line 2: deploy.ports: give a list"),
        ("[deploy]\nports = [0]", "line 2: deploy.ports.0: '0': ports go from 1 to 65535"),
        ("[deploy]\nports = ['65536:1']", "line 2: deploy.ports.0: '65536:1': ports go from"),
        ("[deploy]\nports = ['1:1/icmp']", "line 2: deploy.ports.0: '1:1/icmp': the protocol"),
        ("[deploy]\nports = ['999.0.0.1:1:1']", "line 2: deploy.ports.0: '999.0.0.1:1:1': 999.0.0.1 is not an IP"),
        ("[deploy]\nports = ['1:1', '1:2']", "line 1: deploy: two of the `ports`"),
        ("[deploy]\ncommand = 'sh -c x'", "line 2: deploy.command: give a list of words"),
        ("[deploy]\ncommand = [1]", "line 2: deploy.command.0: give text in quotes"),
        ("[deploy]\nenv = { A = 1 }", "line 2: deploy.env.A: give text in quotes"),
        ("[deploy]\nvolumes = ['/var/run/docker.sock:/s']", "line 2: deploy.volumes./var/run/docker.sock: '/var"),
        ("[deploy]\nvolumes = ['./x:/s']", "line 2: deploy.volumes../x: './x' is a path of the host"),
        ("[deploy]\nvolumes = ['x:/s:ro']", "line 2: deploy.volumes.x: '/s:ro': options"),
        ("[deploy]\nvolumes = ['x']", "line 2: deploy.volumes: 'x': give a name and a path"),
        ("[deploy]\nvolumes = ['x:/a', 'x:/b']", "line 2: deploy.volumes: 'x' is there twice"),
        ("[deploy]\nvolumes = { x = '/' }", "line 2: deploy.volumes.x: '/': give an absolute path"),
        ("[deploy]\nvolumes = { x = 'data' }", "line 2: deploy.volumes.x: 'data': give an absolute path"),
        ("[deploy]\nstop_timeout = -1", "line 2: deploy.stop_timeout: give a number greater than 0"),
        ("[deploy.health]\ntimeout = inf", "line 2: deploy.health.timeout: give a finite number"),
        ("[deploy.health]\ninterval = nan", "line 2: deploy.health.interval: give a finite number"),
        ("[deploy.health]\nhttp = 'x'", "line 2: deploy.health.http: give the path of a URL"),
        ("[deploy.health]\nhttp = '/x'", "line 1: deploy: `health.http` needs `health.port`"),
        ("[deploy.health]\nport = 1", "line 1: deploy.health: `port` is where"),
        ("[deploy.health]\nport = 1\nhttp='/'\ncommand=['x']", "line 1: deploy.health: give either"),
        ("a = [1,\n", "line 1: Invalid value"),
        ("[image.web]\n[image.web]\n", "line 2: [image.web] is there twice"),
        ('[build]\nargs = { A = "1" }\nargs.B = "2"\n', "line 3: build.args is there twice, in two ways"),
        ("x = 1\nx = 2\n", "line 2: this key is there twice"),
        ("[build]\ntarget = 'a\n", "line 2: "),
        ("a = " + "[" * 30_000, "it is nested too deeply"),
        ("a = " + "1" * 5000, "a number has too many digits"),
        (b"# caf\xe9", "line 1: this is not UTF-8"),
        ('"\\u001b[2J" = 1', "line 1: \N{REPLACEMENT CHARACTER}[2J: there is no such key"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str | bytes, problem: str) -> None:
    problems = problems_of(text)
    assert len(problems) == 1
    assert problems[0].startswith(problem)


def test_a_file_full_of_problems_gives_a_message_that_can_be_read() -> None:
    problems = problems_of("".join(f"{'k' * 500}{number} = 1\n" for number in range(100)))
    assert len(problems) == 51
    assert problems[-1] == "and 50 more"
    assert max(map(len, problems)) < 1000


class OneFile:
    """A commit with one file, or an error in its place."""

    def __init__(self, answer: bytes | SourceError | None) -> None:
        self.answer = answer

    async def read(self, path: str, limit: int) -> bytes | None:
        """The file or the error."""
        assert (path, limit) == ("lumper.toml", RECIPE_LIMIT)
        if isinstance(self.answer, SourceError):
            raise self.answer
        return self.answer


async def test_a_repository_without_a_recipe_has_the_default_one() -> None:
    assert (await read_recipes(OneFile(None), "a/b")).recipes[0] == Recipe()
    assert ((await read_recipes(OneFile(b"[build]\ntarget = 'x'"), "a/b")).recipes[0]).target == "x"


async def test_a_recipe_that_cannot_be_read_is_a_wrong_one() -> None:
    with pytest.raises(RecipeError, match=r"lumper\.toml has one problem:\n  too large"):
        await read_recipes(OneFile(SourceError("too large")), "a/b")


async def test_a_damaged_mirror_is_not_the_recipes_fault() -> None:
    with pytest.raises(MirrorDamaged):
        await read_recipes(OneFile(MirrorDamaged()), "a/b")


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
        Place("r.example.com/team/app"),
        Place("docker.io/team/app", (Template("raw:edge"),)),
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
