"""The command line: one noun a module, imported when it is used."""

from __future__ import annotations

import sys

from cyclopts import App

from lumper.cli.output import warn
from lumper.errors import LumperError

app = App(
    name="lumper",
    help="From `git tag` to a running container: builds, a private registry and roll-outs in one program.",
    help_epilogue="Begin with `lumper up`, then `lumper project add URL`.",
    version_flags=["--version"],
)
app.command("lumper.cli.serve:up", name="up")
app.command("lumper.cli.serve:server", name="server")
app.command("lumper.cli.serve:worker", name="worker")
app.command("lumper.cli.serve:mailer", name="mailer")
app.command("lumper.cli.serve:deployer", name="deployer")
app.command("lumper.cli.project:app", name="project")
app.command("lumper.cli.builds:builds", name="builds")
app.command("lumper.cli.builds:log", name="log")
app.command("lumper.cli.builds:cancel", name="cancel")
app.command("lumper.cli.builds:restart", name="restart")
app.command("lumper.cli.images:images", name="images")
app.command("lumper.cli.services:ps", name="ps")
app.command("lumper.cli.services:rollouts", name="rollouts")
app.command("lumper.cli.hooks:app", name="hooks")
app.command("lumper.cli.tokens:app", name="token")
app.command("lumper.cli.doctor:doctor", name="doctor")
app.command("lumper.cli.configuration:configuration", name="config")
app.command("lumper.cli.demo:demo", name="demo")


def main(arguments: list[str] | None = None) -> None:
    """Run one command; an error that Lumper knows ends with its sentence and status 1."""
    try:
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
