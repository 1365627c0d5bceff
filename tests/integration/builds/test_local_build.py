"""`lumper build`: a real engine, a real work tree, no server."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from lumper.cli.main import main
from lumper.model.builds.log import from_line
from lumper.model.people.people import Role
from parts.engines import newer_engine
from parts.engines.context import BASE, BUSYBOX
from parts.engines.docker_engine import ADDRESS, engine
from parts.engines.plain_docker import Engine
from parts.git.ssh_agent import program_with_libraries, ssh_agent
from parts.registries.live_registry import live_registry
from parts.registries.registry_reader import RegistryReader
from parts.servers.background import in_background

pytestmark = [pytest.mark.docker, pytest.mark.system]

RECIPE = '[image.one]\ntags = ["raw:mine"]\n[image.two]\nimage = ""\n[image.broken]\ndockerfile = "gone"\n'


def git(folder: Path, *arguments: str) -> None:
    """Run git as somebody."""
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


def commit(folder: Path, recipe: str = "") -> None:
    """Make a repository of the folder, with a Dockerfile."""
    (folder / "Dockerfile").write_text(f"{BASE}COPY said /said\nRUN cat /said\n")
    (folder / "busybox").write_bytes(BUSYBOX.read_bytes())
    (folder / "busybox").chmod(0o755)
    (folder / "said").write_text(f"from the commit {uuid.uuid4()}\n")  # or the engine has it from an earlier run
    (folder / "lumper.toml").write_text(recipe)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / f"local-{tmp_path.name.replace('_', '-')[:60].strip('-')}"
    root.mkdir()
    yield root
    asyncio.run(forget(root.name))


async def forget(name: str) -> None:
    """Remove the images that the test has made."""
    async with engine() as docker:
        for image in await docker.images.list():
            for tag in image.get("RepoTags") or ():
                if tag.startswith((f"{name}:", f"{name}/")):
                    await docker.images.delete(tag, force=True)


async def labels(image: str) -> dict[str, str]:
    """The labels of an image as the engine has it."""
    async with engine() as docker:
        found: dict[str, str] = (await docker.images.inspect(image))["Config"]["Labels"]
        return found


def build(*arguments: str) -> int:
    """The exit status of `lumper build`."""
    try:
        main(["build", *arguments])
    except SystemExit as exc:
        return int(exc.code or 0)
    return 0


def test_the_commit_is_built_and_not_what_lies_about(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commit(folder)
    git(folder, "tag", "v1.2.3")
    (folder / "said").write_text("not committed\n")
    assert build(str(folder)) == 0
    said = capsys.readouterr()
    assert f"{folder.name}:1.2.3 is built" in said.out
    assert "from the commit" in said.err
    assert "not committed" not in said.err
    assert asyncio.run(labels(f"{folder.name}:1.2.3"))["org.opencontainers.image.version"] == "1.2.3"


def test_an_engine_that_keeps_images_in_containerd_finds_the_image_by_its_name(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(folder)
    with newer_engine.newer_engine() as socket:
        monkeypatch.setenv("LUMPER_WORKER_ENGINE", f"unix://{socket}")
        assert build(str(folder)) == 0
        docker = Engine(f"unix://{socket}")
        assert f"{folder.name}:main is built" in capsys.readouterr().out
        assert docker.config(f"{folder.name}:main")["Labels"] == {}


def test_without_the_syntax_image_the_engine_s_own_parser_reads_the_dockerfile(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(folder)
    text = (folder / "Dockerfile").read_text()
    (folder / "Dockerfile").write_text(f"# syntax=docker/dockerfile:0.not.there\n{text}")
    assert build(str(folder), "--work-tree") == 0
    assert "The engine's own parser takes its place" in capsys.readouterr().err


def test_mirrors_that_nobody_has_used_for_long_go(folder: Path, tmp_path: Path) -> None:
    old = tmp_path / "cache/lumper/mirrors/old.git"
    old.mkdir(parents=True)
    os.utime(old, (0, 0))
    commit(folder)
    assert build(str(folder)) == 0
    assert not old.exists()
    assert len(list(old.parent.glob("*.git"))) == 1


def test_the_images_that_are_named_are_built(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commit(folder, RECIPE)
    assert build(str(folder), "one", "two", "--json") == 0
    assert [one["images"] for one in json.loads(capsys.readouterr().out)] == [
        [f"{folder.name}/one:mine"],
        [f"{folder.name}:main"],
    ]
    assert build(str(folder), "one", "two", "-t", "x") == 1
    assert "are for one image, and 2 would be built" in capsys.readouterr().err
    assert build(str(folder), "three") == 1
    assert "It has: one, two, broken." in capsys.readouterr().err
    assert build(str(folder), "broken") == 1


def test_without_a_commit_there_is_nothing_to_build(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(str(folder)) == 1
    git(folder, "init", "-q")
    assert build(str(folder)) == 1
    assert "There is no commit to build" in capsys.readouterr().err


def test_the_work_tree_is_built_as_it_lies_there_and_the_image_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(folder)
    git(folder, "tag", "v1.2.3")
    head = subprocess.run(["git", "-C", folder, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout
    (folder / "said").write_text(f"changed {uuid.uuid4()}\n")
    (folder / "new").write_text("new\n")
    (folder / "ignored").write_text("ignored\n")
    (folder / ".gitignore").write_text("/ignored\n")
    (folder / ".dockerignore").write_text("docs\n")
    (folder / "docs").mkdir()
    (folder / "docs" / "page").write_text("page\n")
    (folder / "Dockerfile").write_text(f"{BASE}COPY . /all\nRUN cat /all/said; echo all: $(ls /all)\n")
    before = state_of(folder)
    assert build(str(folder), "--work-tree") == 0
    said = capsys.readouterr()
    image = f"{folder.name}:1.2.3-dirty"
    assert f"{image} is built" in said.out
    assert "changes that are not committed" in said.err
    assert "changed" in said.err
    assert "all: Dockerfile busybox lumper.toml new said" in said.err
    found = asyncio.run(labels(image))
    assert found["org.opencontainers.image.version"] == "1.2.3+dirty"
    assert found["org.opencontainers.image.revision"] == head.strip()
    assert state_of(folder) == before, "the repository was written to"


def test_a_work_tree_without_changes_is_its_commit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commit(folder)
    assert build(str(folder), "--work-tree") == 0
    said = capsys.readouterr()
    assert f"{folder.name}:main is built" in said.out
    assert "not committed" not in said.err


def state_of(folder: Path) -> tuple[bytes, set[str]]:
    """What git says of the work tree, and the files of the repository with what was staged."""
    status = subprocess.run(["git", "-C", folder, "status", "--porcelain"], check=True, capture_output=True).stdout
    return status, {str(path) for path in (folder / ".git").rglob("*")}


def test_a_commit_without_a_branch_is_named_after_itself(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commit(folder)
    git(folder, "switch", "--detach")
    git(folder, "commit", "--allow-empty", "--message", "on no branch")
    assert build(str(folder), "--progress", "quiet") == 0
    said = capsys.readouterr()
    head = subprocess.run(["git", "-C", folder, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout
    assert said.out == f"{folder.name}:sha-{head[:12]}\n"
    assert said.err == ""


def test_names_that_are_given_are_those_of_the_image(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commit(folder)
    other = folder / "other.Dockerfile"
    other.write_text((folder / "Dockerfile").read_text() + "ENV OTHER=1\n")
    names = f"{folder.name}:one", f"{folder.name}/two:latest"
    arguments = ("--work-tree", "-f", str(other), "-t", names[0], "--tag", f"{folder.name}/two", "--progress", "json")
    assert build(str(folder), *arguments, "--json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == [{"recipe": "", "images": list(names), "pushed": {}}]
    assert [from_line(line) for line in said.err.splitlines() if line.startswith("{")]
    docker = Engine(ADDRESS)
    assert {"OTHER=1" in docker.config(name)["Env"] for name in names} == {True}
    assert build(str(folder), "-t", "Upper:x") == 1
    assert "is not the name of an image" in capsys.readouterr().err
    assert build(str(folder), "-f", "/etc/hostname") == 1
    assert "does not lie in the context" in capsys.readouterr().err


def test_the_image_is_pushed_to_what_is_named_or_to_what_the_recipe_names(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(folder)
    assert build(str(folder), "--push") == 1
    assert "--tag HOST/REPOSITORY:TAG" in capsys.readouterr().err
    assert build(str(folder), "--push", "-t", folder.name) == 1
    assert "name the registry too" in capsys.readouterr().err
    with in_background(live_registry(tmp_path)) as registry:
        auth = base64.b64encode(f"bot:{registry.tokens[Role.ADMIN]}".encode()).decode()
        (tmp_path / "config.json").write_text(json.dumps({"auths": {registry.host: {"auth": auth}}}))
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        (folder / "lumper.toml").write_text(
            f'[build]\npush = ["{registry.host}/team/app", {{ to = "{registry.host}/b", tags = ["raw:x", "raw:y"] }}]\n'
        )
        git(folder, "commit", "-q", "-a", "-m", "push")
        assert build(str(folder), "--push", "--json") == 0
        [made] = json.loads(capsys.readouterr().out)
        assert made["images"] == [f"{folder.name}:main"]
        names = ("team/app:main", "b:x", "b:y")
        assert made["pushed"] == dict.fromkeys(
            (f"{registry.host}/{n}" for n in names), made["pushed"][f"{registry.host}/b:x"]
        )
        for repository, tag in (name.split(":") for name in names):
            reader = RegistryReader(registry.url, registry.tokens[Role.ADMIN], repository)
            assert reader.digest(tag) == made["pushed"][f"{registry.host}/b:x"]

        named = f"{registry.host}/c/{folder.name}:1"
        assert build(str(folder), "--push", "-t", named, "-t", f"{registry.host}/c/{folder.name}:2") == 0
        assert f"{named} is pushed, as sha256:" in capsys.readouterr().out
        reader = RegistryReader(registry.url, registry.tokens[Role.ADMIN], f"c/{folder.name}")
        assert reader.digest("1") == reader.digest("2")
    assert f"{registry.host}/team/app:main" not in Engine(ADDRESS).docker("images").stdout.replace("  ", ":")
    Engine(ADDRESS).docker("image", "rm", named, named.replace(":1", ":2"), check=False)


SECRET = "[build]\nsecrets = { token = 'npm' }\n"
READING = "RUN --mount=type=secret,id=token echo the token is $(cat /run/secrets/token)\n"


@pytest.mark.parametrize("how", ["src", "env"])
def test_a_secret_is_given_by_a_file_or_a_variable_and_masked(
    folder: Path, tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(folder, SECRET)
    value = uuid.uuid4().hex
    (folder / "Dockerfile").write_text(f"{BASE}COPY said /said\n{READING}")
    (tmp_path / "value").write_text(value)
    monkeypatch.setenv("VALUE", value)
    given = f"id=token,{how}={tmp_path / 'value' if how == 'src' else 'VALUE'}"
    assert build(str(folder), "--work-tree", "--secret", given) == 0
    said = capsys.readouterr().err
    assert "the token is ***" in said
    assert value not in said


def test_what_is_not_given_or_not_understood_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commit(folder, SECRET)
    for arguments, words in (
        ((), "--secret id=token,src=FILE"),
        (("--secret", "token"), "is not understood"),
        (("--secret", "id=token,src=/no/such"), "cannot be read from /no/such"),
        (("--secret", "id=token,env=NO_SUCH_VARIABLE"), "no variable NO_SUCH_VARIABLE"),
        (("--platform", "arm64"), "is not a platform"),
        (("--build-arg", "NO_SUCH_VARIABLE"), "no variable NO_SUCH_VARIABLE"),
    ):
        assert build(str(folder), *arguments) == 1
        assert words in capsys.readouterr().err


def test_arguments_and_the_stage_are_given_on_top_of_the_recipe(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(folder, "[build]\nargs = { ONE = '1', TWO = '2' }\ntarget = 'last'\n")
    echo = f"RUN echo $ONE $TWO {uuid.uuid4()}\n"
    stage = f"{BASE}ARG ONE\nARG TWO\n{echo}"
    (folder / "Dockerfile").write_text(f"{stage.replace('scratch', 'scratch AS first')}FROM first AS last\nRUN false\n")
    arguments = ("--work-tree", "--target", "first", "--build-arg", "TWO=zwei")
    assert build(str(folder), *arguments) == 0
    assert " 1 zwei " in capsys.readouterr().err
    assert build(str(folder), *arguments) == 0
    assert "CACHED [first 2" in capsys.readouterr().err
    assert build(str(folder), *arguments, "--no-cache") == 0
    assert "CACHED [first" not in capsys.readouterr().err


def test_the_agent_of_the_shell_is_that_of_the_build(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(folder, "[build]\nssh = true\n")
    for path, data in program_with_libraries("ssh-add").items():
        (folder / "root" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "root" / path).write_bytes(data)
    run = f"chmod -R 755 /usr /lib /lib64; ssh-add -l; echo {uuid.uuid4()}"
    (folder / "Dockerfile").write_text(f"{BASE}COPY root /\nRUN --mount=type=ssh {run}\n")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    assert build(str(folder), "--work-tree") == 1
    assert "ssh-add" in capsys.readouterr().err
    with in_background(ssh_agent()) as agent:
        monkeypatch.setenv("SSH_AUTH_SOCK", agent.socket)
        assert build(str(folder), "--work-tree") == 0
        assert agent.fingerprint in capsys.readouterr().err
