from __future__ import annotations

import pytest

from lumper.build.recipe.recipe import RECIPE_LIMIT, Recipe, read_recipes, service_name
from lumper.errors import MirrorDamaged, RecipeError, SourceError
from lumper.model.deployment import Health, Port, Service
from parts.git.recipes import parse_recipe, problems_of

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
