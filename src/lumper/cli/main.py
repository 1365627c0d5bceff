"""The command line: one noun a module, imported when it is used."""

from __future__ import annotations

import sys
from io import TextIOWrapper

from cyclopts import App, Parameter

from lumper.cli.output import warn
from lumper.errors import LumperError

app = App(
    name="lumper",
    help="From `git tag` to a running container: builds, a private registry and roll-outs in one program.",
    help_epilogue="Begin with `lumper up`, then `lumper project add URL`.",
    version_flags=["--version"],
    version_format="plaintext",  # what is printed anyway; the default loads a reader of Markdown first
    default_parameter=Parameter(negative=()),
)
app.command("lumper.cli.serve:up", name="up", help="Run everything in one process.")
app.command("lumper.cli.serve:server", name="server", help="Run the server: webhooks, API, registry, web UI.")
app.command("lumper.cli.serve:worker", name="worker", help="Run a worker that builds.")
app.command("lumper.cli.serve:mailer", name="mailer", help="Run a mailer.")
app.command("lumper.cli.serve:deployer", name="deployer", help="Run a deployer.")
app.command("lumper.cli.registry:app", name="registry", help="Run a registry alone; look after what it keeps.")
app.command("lumper.cli.project:app", name="project", help="The git repositories that are built.")
app.command(
    "lumper.cli.build:app", name="build", help="Build what is checked out here, without a server; verify builds."
)
app.command("lumper.cli.recipe:app", name="recipe", help="What to build from a repository: its lumper.toml.")
app.command("lumper.cli.builds:builds", name="builds", help="List the newest builds.")
app.command("lumper.cli.log:log", name="log", help="Print a build's log.")
app.command("lumper.cli.builds:start", name="start", help="Build a tag or branch now.")
app.command("lumper.cli.builds:cancel", name="cancel", help="Cancel a build.")
app.command("lumper.cli.builds:restart", name="restart", help="Build the same commit again.")
app.command("lumper.cli.images:images", name="images", help="What the registry holds.")
app.command(
    "lumper.cli.image:app", name="image", help="One image: copying it, the past of its tags, moving and removing them."
)
app.command("lumper.cli.services:ps", name="ps", help="What runs where.")
app.command("lumper.cli.services:rollouts", name="rollouts", help="List the newest rollouts.")
app.command("lumper.cli.hooks:app", name="hooks", help="Deliveries of the forges' webhooks.")
app.command("lumper.cli.queue:app", name="queue", help="Messages between the roles.")
app.command("lumper.cli.secret:app", name="secret", help="What builds are given, and nobody is shown.")
app.command("lumper.cli.tokens:app", name="token", help="API tokens.")
app.command("lumper.cli.users:app", name="user", help="People with a password.")
app.command("lumper.cli.robots:app", name="robot", help="Programs with a token.")
app.command("lumper.cli.grants:app", name="grant", help="Who may do what in which repositories.")
app.command("lumper.cli.audit:audit", name="audit", help="Who did what.")
app.command("lumper.cli.doctor:doctor", name="doctor", help="Check everything that Lumper needs.")
app.command("lumper.cli.configuration:configuration", name="config", help="Every option and its default.")
app.command("lumper.cli.demo.command:demo", name="demo", help="Show the whole line on a small real repository.")


def main(arguments: list[str] | None = None) -> None:
    """Run one command; an error that Lumper knows ends with its sentence and status 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character is no reason to stop
    try:
        _explain_whole(arguments)
        app(arguments)
    except LumperError as exc:
        warn(f"lumper: {exc.message}")
        if exc.hint:
            warn(f"        {exc.hint}")
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone; nobody is to be told
        sys.exit(141)
    except KeyboardInterrupt:
        sys.exit(130)


def _explain_whole(arguments: list[str] | None) -> None:
    """Let the help of the command that was chosen be its own docstring, not its line in the list of all commands."""
    _, chosen, _ = app.parse_commands(arguments)
    for command in chosen[1:]:
        if command.default_command is not None:
            command.help = None
