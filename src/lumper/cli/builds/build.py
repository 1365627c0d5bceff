"""`lumper build`: the recipe of a repository here, without a server."""

from __future__ import annotations

import asyncio
import contextlib
import json as json_
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from lumper.build.grants import Grants
from lumper.build.local import Here, Made, Options, build_here
from lumper.build.local_names import full_name
from lumper.build.port import Login
from lumper.build.recipe.asked import platform_problem
from lumper.build.source.mirror_keeping import MirrorLimits
from lumper.cli.builds.work_tree import here, with_changes
from lumper.cli.output import coloured, show_json, warn
from lumper.config.settings import Config, load
from lumper.errors import Invalid, StorageError
from lumper.model.builds.build import Progress
from lumper.model.builds.log import render, to_line
from lumper.model.builds.masking import Masker
from lumper.model.builds.secrets import registry_host
from lumper.model.builds.terminal import visible

app = App(name="build", help="Build the commit that is checked out here, without a server; verify builds.")
app.command(
    "lumper.cli.builds.verify:verify", name="verify", help="See whether a build gives the same image once more."
)

Tell = Callable[[Sequence[Progress]], None]
"""Takes records of progress to the one who waits."""

_Several = Annotated[list[str] | None, Parameter(negative_iterable=())]


@app.default
def build(
    folder: Path = Path(),
    /,
    *names: str,
    work_tree: bool = False,
    secret: _Several = None,
    ssh: _Several = None,
    platform: str = "",
    target: str = "",
    build_arg: _Several = None,
    no_cache: bool = False,
    pull: bool = False,
    file: Annotated[Path | None, Parameter(name=("--file", "-f"))] = None,
    tag: Annotated[list[str] | None, Parameter(name=("--tag", "-t"), negative_iterable=())] = None,
    push: bool = False,
    progress: Literal["plain", "json", "quiet"] = "plain",
    json: bool = False,
    config: Path | None = None,
) -> None:
    """Build the commit that is checked out here by its lumper.toml, without a server; the engine keeps the image.

    Files that are not committed are not in it, unless with --work-tree. Without --tag, the image is named after the
    folder, with the first of the tags that it would get in the registry. With --push it goes to the registries of
    --tag, or else to those that lumper.toml names, with the credentials of `docker login`. Status 1 if something fails.

    Example: lumper build . --tag registry.example.org/team/app:1.2 --push

    Parameters
    ----------
    folder
        A folder of the repository.
    names
        Which of its images, where lumper.toml has several; all of them if none is named.
    work_tree
        Build the files as they lie there, but for those that git ignores; tag and labels then end with "dirty".
    secret
        id=NAME,src=FILE or id=NAME,env=VARIABLE: a secret for RUN --mount=type=secret; may be given more than once.
    ssh
        ID=SOCKET: an agent for RUN --mount=type=ssh other than that of this shell; ID alone names that one.
    platform
        For which platforms, by commas, instead of those of lumper.toml.
    target
        Another stage of the Dockerfile than lumper.toml says.
    build_arg
        NAME=VALUE, on top of the args of lumper.toml; NAME alone takes the value of this shell's variable.
    no_cache
        Run all steps again.
    pull
        Ask for base images anew, also for those that the engine has.
    file
        The path of another Dockerfile than lumper.toml says, within its context.
    tag
        [HOST/]NAME[:TAG]: what the image is called; may be given more than once.
    push
        Push the image when it is built.
    progress
        How the log goes to standard error: as lines, as JSON with a record a line, or not at all.
    json
        Print what was made as JSON at the end: names, and digests of what was pushed.
    config
        The TOML file whose [git], and [worker] engine, frontends and entitlements, are used.
    """
    agent = os.environ.get("SSH_AUTH_SOCK", "")
    options = Options(
        secrets=dict(read_secret(text, os.environ) for text in secret or ()),
        ssh=dict(_agent(text, agent) for text in ssh or ()),
        agent=agent,
        logins=docker_logins(Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")),
        platforms=_platforms(platform),
        target=target,
        args=dict(_argument(text, os.environ) for text in build_arg or ()),
        no_cache=no_cache,
        pull=pull,
        dockerfile=file,
        names=tuple(dict.fromkeys(full_name(name) for name in tag or ())),
        push=push,
    )
    committed = here(folder)
    with with_changes(committed) if work_tree else contextlib.nullcontext(committed) as found:
        if found.changes:
            warn(f"{found.root} has changes that are not committed: they are in the image.")
        made = asyncio.run(_build(found, names, load(config), options, _TELLERS[progress]()))
    if json:
        show_json([asdict(one) for one in made])
        return
    for one in made:
        for image in one.images:
            print(image if progress == "quiet" else f"{image} is built; `docker run --rm {image}` runs it.")
        for name, digest in one.pushed.items():
            print(f"{name} is pushed, as {digest}.")


async def _build(work_tree: Here, names: Sequence[str], config: Config, options: Options, tell: Tell) -> list[Made]:
    from lumper.model.addresses import registry_url
    from lumper.roles.replicator import Replicator  # with a whole HTTP client
    from lumper.wiring.engines import open_engine, open_mirrors  # slow to import

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    mirrors, grants = (
        open_mirrors(config, cache / "lumper" / "mirrors"),
        Grants(config.worker.frontends, config.worker.entitlements),
    )
    engine, masker = open_engine(config), Masker(options.secrets.values())
    try:
        return await build_here(
            work_tree,
            mirrors,
            engine,
            lambda record: tell(masker.feed([record])),
            lambda host: Replicator(registry_url(host)).copy,
            names,
            options,
            grants,
        )
    finally:
        tell(masker.finish())
        await engine.close()
        with contextlib.suppress(StorageError):  # of mirrors that other builds have left; there is another time
            await mirrors.prune(MirrorLimits(config.git.mirror_days, config.git.mirror_total))


def _in_lines() -> Tell:
    """Tells each record of progress as a line, as the log of a build has it."""
    steps: dict[int, str] = {}

    def tell(records: Sequence[Progress]) -> None:
        for line in render(records, steps, partial(visible, colours=coloured(sys.stderr))):
            warn(line)

    return tell


def _in_json() -> Tell:
    """Tells each record as the log of a build on a server keeps it."""

    def tell(records: Sequence[Progress]) -> None:
        sys.stderr.write("".join(map(to_line, records)))
        sys.stderr.flush()

    return tell


def _not_at_all() -> Tell:
    return lambda _: None


_TELLERS = {"plain": _in_lines, "json": _in_json, "quiet": _not_at_all}


def read_secret(text: str, environment: Mapping[str, str]) -> tuple[str, bytes]:
    """The id and the value of `id=NAME,src=FILE` or `id=NAME,env=VARIABLE`. Raises Invalid."""
    words = dict(part.partition("=")[::2] for part in text.split(","))
    name, file, variable = words.pop("id", ""), words.pop("src", words.pop("source", "")), words.pop("env", "")
    words.pop("type", "")
    if not name or words or bool(file) == bool(variable):
        raise Invalid(f"{text!r} is not understood.", hint="Write id=NAME,src=FILE or id=NAME,env=VARIABLE.")
    if variable:
        if variable not in environment:
            raise Invalid(f"There is no variable {variable} for the secret {name}.")
        return name, environment[variable].encode("utf-8", "surrogateescape")
    try:
        return name, Path(file).read_bytes()
    except OSError as exc:
        raise Invalid(f"The secret {name} cannot be read from {file}: {exc.strerror}.") from exc


def _agent(text: str, own: str) -> tuple[str, str]:
    name, equals, socket = text.partition("=")
    return name, socket if equals else own


def _argument(text: str, environment: Mapping[str, str]) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals and name not in environment:
        raise Invalid(f"There is no variable {name}.", hint="Write --build-arg NAME=VALUE.")
    return name, value if equals else environment[name]


def _platforms(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if problem := next((words for name in names if (words := platform_problem(name))), ""):
        raise Invalid(f"{problem}.")
    return names


def docker_logins(folder: Path) -> dict[str, Login]:
    """The credentials by registry that `docker login` has left in its folder, where they are in its file itself."""
    from lumper.registry.remote.docker_config import credentials_for

    try:
        text = (folder / "config.json").read_text("utf-8")
        hosts = [str(host) for host in json_.loads(text).get("auths") or {}]
    except (OSError, ValueError, AttributeError):
        return {}
    found = {}
    for host in hosts:
        with contextlib.suppress(Invalid, ValueError):  # another program knows the password, or it is no registry
            if (known := credentials_for(host, text)) and known.password:
                found[registry_host(host)] = Login(known.username, known.password)
    return found
