"""The command line: one noun a module, imported when it is used."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from difflib import get_close_matches
from io import TextIOWrapper
from pathlib import Path
from typing import Literal, TextIO

from cyclopts import App, CycloptsError, Group, Parameter, UnknownCommandError, UnknownOptionError, UnusedCliTokensError

from lumper.cli.output import warn
from lumper.errors import LumperError

_MEANT = {  # what people type for what is called otherwise here
    "access": "grant",
    "containers": "ps",
    "deliveries": "hooks",
    "releases": "rollouts",
    "service": "ps",
    "services": "ps",
    "webhooks": "hooks",
}
_BEGIN = "Begin with `lumper up`, then `lumper project add URL`."

app = App(
    name="lumper",
    help="From `git tag` to a running container: builds, a private registry and roll-outs in one program.",
    help_epilogue=_BEGIN,
    version_flags=["--version"],
    version_format="plaintext",  # what is printed anyway; the default loads a reader of Markdown first
    default_parameter=Parameter(negative=(), show_default=lambda value: str(value) if value else None),
)
_RUN = Group.create_ordered("Run")
_BUILDS = Group.create_ordered("Builds")
_IMAGES = Group.create_ordered("Images")
_SERVICES = Group.create_ordered("Services")
_RIGHTS = Group.create_ordered("Who may do what")
_OTHERS = Group.create_ordered("Begin, and look around")


def _add(group: Group, name: str, where: str, words: str) -> None:
    """Add a command, which is imported when it is used."""
    app.command(f"lumper.cli.{where}", name=name, help=words, group=group)


_add(_RUN, "up", "server.serve:up", "Run everything in one process.")
_add(_RUN, "server", "server.serve:server", "Run the server: webhooks, API, registry, web UI.")
_add(_RUN, "worker", "server.serve:worker", "Run a worker that builds.")
_add(_RUN, "mailer", "server.serve:mailer", "Run a mailer.")
_add(_RUN, "deployer", "server.serve:deployer", "Run a deployer.")
_add(_RUN, "registry", "registry.registry:app", "Run a registry alone; look after what it keeps.")
_add(_BUILDS, "project", "projects.project:app", "The git repositories that are built.")
_add(_BUILDS, "build", "builds.build:app", "Build what is checked out here, without a server; verify builds.")
_add(_BUILDS, "recipe", "builds.recipe:app", "What to build from a repository: its lumper.toml.")
_add(_BUILDS, "builds", "builds.builds:builds", "List the newest builds.")
_add(_BUILDS, "log", "builds.log:log", "Print a build's log.")
_add(_BUILDS, "start", "builds.builds:start", "Build a tag or branch now.")
_add(_BUILDS, "cancel", "builds.builds:cancel", "Cancel a build.")
_add(_BUILDS, "restart", "builds.builds:restart", "Build the same commit again.")
_add(_IMAGES, "images", "images.images:images", "What the registry holds.")
_add(_IMAGES, "image", "images.image:app", "One image: copying it, the past of its tags, moving and removing them.")
_add(_SERVICES, "ps", "server.services:ps", "What runs where.")
_add(_SERVICES, "rollouts", "server.services:rollouts", "List the newest rollouts.")
_add(_BUILDS, "hooks", "projects.hooks:app", "Deliveries of the forges' webhooks.")
_add(_BUILDS, "queue", "server.queue:app", "Builds that wait, workers, and messages between the roles.")
_add(_BUILDS, "secret", "projects.secret:app", "What builds are given, and nobody is shown.")
_add(_RIGHTS, "token", "people.tokens:app", "API tokens.")
_add(_RIGHTS, "user", "people.users:app", "People with a password.")
_add(_RIGHTS, "robot", "people.robots:app", "Programs with a token.")
_add(_RIGHTS, "grant", "people.grants:app", "Who may do what in which repositories.")
_add(_RIGHTS, "audit", "people.audit:audit", "Who did what.")
_add(_OTHERS, "doctor", "server.doctor:doctor", "Check everything that Lumper needs.")
_add(_OTHERS, "config", "server.configuration:configuration", "Every option and its default.")
_add(_OTHERS, "completion", "server.completion:completion", "What lets a shell complete commands by Tab.")
_add(_OTHERS, "demo", "demo.command:demo", "Show the whole line on a small real repository.")


def main(arguments: list[str] | None = None, loaded: Callable[[], object] = lambda: None) -> None:
    """Run one command; an error that Lumper knows ends with its sentence and status 1.

    `loaded` hears when its code is there, before it begins.
    """
    sys.stdout, sys.stderr = sys.stdout or _nowhere(), sys.stderr or _nowhere()  # who started us has closed them
    sys.stdin = sys.stdin or _nowhere("r")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character is no reason to stop
    try:
        _explain_whole(arguments)
        loaded()
        app(arguments, print_error=False, exit_on_error=False)
        sys.stdout.flush()
    except CycloptsError as exc:
        _complain(*mistake(exc))
        sys.exit(2)
    except LumperError as exc:
        _complain(exc.message, exc.hint)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone; nobody is to be told
        sys.exit(141)
    except OSError as exc:
        if not _refused_by_stdout():
            raise
        _complain(
            f"What was to be printed could not be written: {exc.strerror}.",
            "Make room where it goes, or send it elsewhere.",
        )
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _nowhere(mode: Literal["r", "w"] = "w") -> TextIO:
    return Path(os.devnull).open(mode)


def _refused_by_stdout() -> bool:
    """Whether standard output takes nothing more, such as a file on a full disk. From then on nothing is printed."""
    try:
        print(flush=True)
    except OSError:
        sys.stdout = _nowhere()
        return True
    return False


def _complain(message: str, hint: str) -> None:
    warn(f"lumper: {message}")
    if hint:
        warn(f"        {hint}")


def mistake(exc: CycloptsError) -> tuple[str, str]:
    """What is wrong with a command line, and where to look what can be typed.

    What cyclopts says of an unknown command it looks up in all of them, for which it loads every one.
    """
    chain = " ".join(("lumper", *(exc.command_chain or ())))
    hint = f"What can be typed: {chain} --help"
    if isinstance(exc, UnknownOptionError) and exc.token and "--url" in (exc.token.keyword, exc.token.value):
        return "There is no --url: `--server URL` names a server, and a git URL stands alone.", hint
    if not isinstance(exc, (UnknownCommandError, UnusedCliTokensError)) or not exc.unused_tokens:
        return str(exc), hint
    word = exc.unused_tokens[0]
    near = [_MEANT[word]] if chain == "lumper" and word in _MEANT else get_close_matches(word, list(exc.app or ()), n=1)
    return f"`{chain}` takes no {word!r}." + (f" Did you mean `{chain} {near[0]}`?" if near else ""), hint


def _explain_whole(arguments: list[str] | None) -> None:
    """Let the help of the command that was chosen be its own docstring, not its line in the list of all commands."""
    _, chosen, _ = app.parse_commands(arguments)
    app.help_epilogue = _BEGIN if len(chosen) == 1 else ""
    for command in chosen[1:]:
        if command.default_command is not None:
            command.help = None
