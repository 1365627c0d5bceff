"""`lumper up` and the roles as processes of their own."""

from __future__ import annotations

import gc
import os
import shlex
import sys
from collections.abc import Coroutine, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from lumper.config.layout import find_data
from lumper.model.people.people import Role

if TYPE_CHECKING:
    from lumper.config.settings import Config

ConfigFile = Annotated[Path | None, Parameter(help="A TOML file; `lumper config` prints one with every option.")]
DataPath = Annotated[Path | None, Parameter(help="The folder under which everything lies that Lumper keeps.")]
Listen = Annotated[str | None, Parameter(help="HOST:PORT to listen on.")]


def up(*, listen: Listen = None, data: DataPath = None, config: ConfigFile = None) -> None:
    """Run everything in one process: webhooks, registry, builds, mail, roll-outs and the web UI.

    Example: lumper up --listen 0.0.0.0:5080 --data /srv/lumper
    """
    serve(config, {"server.listen": listen, "data": data}, (Role.WORKER, Role.MAILER, Role.DEPLOYER))


def server(*, listen: Listen = None, data: DataPath = None, config: ConfigFile = None) -> None:
    """Run the server: webhooks, API, registry and web UI. Workers and mailers join it over RabbitMQ.

    Example: LUMPER_QUEUE_URL_FILE=/etc/lumper/amqp lumper server
    """
    serve(config, {"server.listen": listen, "data": data}, None)


def worker(*, data: Path | None = None, config: ConfigFile = None) -> None:
    """Run a worker: it takes builds from RabbitMQ.

    Example: LUMPER_CONNECT_SERVER=https://lumper.example.org lumper worker --config worker.toml

    Parameters
    ----------
    data
        The worker's own folder, for git mirrors.
    """
    _role(config, data, Role.WORKER)


def mailer(*, data: Path | None = None, config: ConfigFile = None) -> None:
    """Run a mailer: it tells people what became of their tags.

    Example: lumper mailer --config mailer.toml

    Parameters
    ----------
    data
        The folder for mails that no SMTP server takes.
    """
    _role(config, data, Role.MAILER)


def deployer(*, data: Path | None = None, config: ConfigFile = None) -> None:
    """Run a deployer: it carries out roll-outs on its Docker Engine. Set [deploy] with_server = false at the server.

    Example: lumper deployer --config deployer.toml

    Parameters
    ----------
    data
        The deployer's own folder.
    """
    _role(config, data, Role.DEPLOYER)


def serve(
    file: Path | None, overrides: Mapping[str, object], roles: Iterable[Role] | None, *, alone: bool = False
) -> None:
    """Run a server with these roles in its process, until a signal comes; None: with those that [deploy] says.

    `alone`: it is a registry and nothing else.

    What it is made of is imported here: help, and commands for a server that runs, do without.
    """
    gc.disable()  # what is loaded from here on stays for good: looking for garbage in it takes a tenth of the start
    from lumper.wiring.processes import run_server

    config = _configured(file, overrides)
    if roles is None:
        roles = (Role.DEPLOYER,) if config.deploy.with_server else ()
    _run(run_server(config, partial(_announce, config.data), frozenset(roles), alone=alone))


def _role(file: Path | None, data: Path | None, role: Role) -> None:
    from lumper.wiring.processes import run_role

    _run(run_role(_configured(file, {"data": data}), role))


def _configured(file: Path | None, overrides: Mapping[str, object]) -> Config:
    """The configuration of this process, which from now on logs as that says."""
    from lumper.config.settings import load, without_effect
    from lumper.logs import Log, set_up

    config = load(file, overrides=overrides)
    set_up(config.log.level, config.log.format)
    for name, meant in without_effect(os.environ).items():
        hint = f"Did you mean {meant}?" if meant else "`lumper config` shows all options."
        Log(__name__).warning("a variable has no effect", action="config.unknown", variable=name, hint=hint)
    return config


def _run(role: Coroutine[Any, Any, None]) -> None:
    import asyncio

    try:
        asyncio.run(role)
    except ExceptionGroup as group:  # one part's own error, not the fact that it was one of several
        first: BaseException = group
        while isinstance(first, ExceptionGroup):
            first = first.exceptions[0]
        raise first from group


def _announce(data: Path, url: str, link: str) -> None:
    print(f"Lumper answers at {url}")
    if link:
        print(f"Make the first admin here (once, within a day): {link}")
    if data != find_data(os.environ):
        print(f"So that other commands find it: export LUMPER_DATA={shlex.quote(str(data.absolute()))}")
    sys.stdout.flush()
    gc.collect()
    gc.freeze()
    gc.enable()
