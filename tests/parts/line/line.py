"""The whole line as a test sees it: a forge's project, a Lumper, and what came out at the other end."""

from __future__ import annotations

import asyncio
import mailbox
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path
from typing import Any

from aiodocker.exceptions import DockerError

from lumper.build.reading import REBUILT
from lumper.model.builds.build import Output, Progress, Step
from lumper.model.builds.log import from_line
from lumper.model.images.image import beside
from parts.engines.docker_engine import engine, remove_service
from parts.engines.gate import SAYS, Gate
from parts.git.forge import Forge, ForgeProject
from parts.processes.lumper_process import LumperServer
from parts.registries.registry_reader import RegistryReader, wrong_blobs
from parts.servers.smtp import Mailbox
from parts.suite.waiting import wait_for

_parser = BytesParser(policy=default)

DEPLOY = """\
[deploy]
ports = ["8080"]

[deploy.health]
http = "/"
interval = 0.1
"""
"""A lumper.toml whose image is a page server, which runs once it answers."""

ENDED = ("succeeded", "failed", "cancelled")


@dataclass
class Line:
    """One project at one Lumper. `inbox` is where its mails arrive, if that is not the maildir in the data folder."""

    lumper: LumperServer
    project: ForgeProject
    inbox: Mailbox | None = None

    def build(self, build_id: int) -> dict[str, Any]:
        """A build with its rollout."""
        found: dict[str, Any] = self.lumper.client.get(f"builds/{build_id}")
        return found

    def builds(self) -> list[dict[str, Any]]:
        """All builds of the project, the newest first."""
        found: list[dict[str, Any]] = self.lumper.client.get("builds", project=self.project.name_at_lumper)
        return found

    def ended(self, build_id: int, seconds: float = 60) -> dict[str, Any]:
        """The build as soon as it has ended, however it did."""

        def look() -> dict[str, Any] | None:
            build = self.build(build_id)
            return build if build["state"] in ENDED else None

        try:
            return wait_for(look, f"end of build {build_id}", seconds)
        except TimeoutError as exc:
            raise TimeoutError(f"{exc}: {self.build(build_id)}\n{self.lumper.said}") from None

    def succeeded(self, build_id: int, seconds: float = 60) -> dict[str, Any]:
        """The build, which must end well."""
        build = self.ended(build_id, seconds)
        assert build["state"] == "succeeded", (build, self.text(build_id))
        return build

    def failed(self, build_id: int, seconds: float = 60) -> dict[str, Any]:
        """The build, which must fail."""
        build = self.ended(build_id, seconds)
        assert build["state"] == "failed", build
        return build

    def log(self, build_id: int, attempt: int | None = None) -> list[Progress]:
        """The records of a build's log, of its last attempt unless another one is named."""
        return [from_line(line) for line in self.lumper.client.lines(f"builds/{build_id}/log", attempt=attempt or "")]

    def text(self, build_id: int, attempt: int | None = None) -> str:
        """All that the log says, in words."""
        records = self.log(build_id, attempt)
        return "\n".join(r.text if isinstance(r, Output) else f"{r.state} {r.name} {r.error}" for r in records)

    def wait_until_logged(self, build_id: int, words: str) -> None:
        """Wait until the log of the running attempt has these words in it."""
        try:
            wait_for(lambda: words in self.text(build_id), f"{words!r} in the log of build {build_id}")
        except TimeoutError as exc:
            build = self.build(build_id)
            raise TimeoutError(f"{exc}: {build}\n{self.text(build_id)}\n{self.lumper.said}") from None

    def at_a_gate(self, tag: str) -> tuple[Gate, int]:
        """A gate, and a build of this tag that has come to it."""
        gate = Gate()
        build_id = self.project.release(tag, {"Dockerfile": gate.dockerfile})
        self.wait_until_logged(build_id, SAYS)
        return gate, build_id

    def mails(self, words: str) -> list[EmailMessage]:
        """All mails with these words in their subject."""
        if self.inbox is None:
            mails = mails_in(self.lumper.data / "mail")
        else:
            mails = [_parser.parsebytes(each.data) for each in tuple(self.inbox.received)]
        return [mail for mail in mails if words in mail["Subject"]]

    def mail(self, words: str) -> EmailMessage:
        """The one mail with these words in its subject, as soon as it is there."""
        (mail,) = wait_for(lambda: self.mails(words), f"mail about {words}")
        return mail

    def image(self) -> RegistryReader:
        """The project's repository in the registry."""
        token = (self.lumper.data / "tokens" / "operator").read_text().strip()
        return RegistryReader(self.lumper.url, token, self.project.image)

    def tags(self) -> dict[str, str]:
        """Every tag of the repository, also those that nobody is shown, and its digest; signatures are left out."""
        query = "SELECT t.name, t.digest FROM tags t JOIN repositories r ON r.id = t.repository_id WHERE r.name = ?"
        with closing(self.database()) as connection:
            found = connection.execute(query, (self.project.image,)).fetchall()
        return {name: digest for name, digest in found if not beside(name)}

    def database(self) -> sqlite3.Connection:
        """Lumper's own database."""
        return sqlite3.connect(self.lumper.data / "lumper.db", timeout=30)

    def rollout(self, build_id: int, seconds: float = 60) -> dict[str, Any]:
        """The rollout of a build as soon as it has ended."""

        def look() -> dict[str, Any] | None:
            found = self.build(build_id)["rollout"]
            return found if found and found["state"] in ("succeeded", "failed") else None

        return wait_for(look, f"end of the rollout of build {build_id}", seconds)

    def containers(self) -> list[dict[str, Any]]:
        """What the engine itself says of the service's containers."""
        return asyncio.run(_containers(self.project.name))

    def check_that_it_ended_once(self, build_id: int, tags: tuple[str, ...], *, deployed: bool = False) -> None:
        """The build has succeeded, whole, and nothing of it is there twice or half."""
        build = self.succeeded(build_id)
        assert [each["id"] for each in self.builds()] == [build_id]
        wanted = dict.fromkeys(tags, build["digest"])
        wait_for(lambda: self.tags() == wanted, "end of whatever else had the same job")
        assert self.tags() == wanted
        assert tuple(build["tags"]) == tags
        self.image().pull(build["digest"])
        assert wrong_blobs(self.lumper.data) == []
        self._check_log(build)
        self.mail(f"{self.project.name} {build['tag']} built")
        if deployed:
            assert self.rollout(build_id)["state"] == "succeeded"
            self.mail(f"{self.project.name} {build['tag']} runs")
            (container,) = self.containers()
            assert build["digest"] in container["Config"]["Image"]
        wait_for(self._nothing_waits, "end of all messages")
        assert len(self.mails(self.project.name)) == 1 + deployed
        wait_for(lambda: not self.names_in_engine(), "removal of the names that the worker gave")

    def _check_log(self, build: dict[str, Any]) -> None:
        data = (self.lumper.data / "logs" / str(build["id"]) / f"{build['attempt']}.jsonl").read_bytes()
        assert len(data) == build["log_size"]
        records = [from_line(line) for line in data.splitlines()]
        steps = [record for record in records if isinstance(record, Step)]
        assert steps[0].name.startswith("checkout")
        assert steps[-1].name.startswith("push")
        last = {step.number: step for step in steps}
        failed = [step.name for step in last.values() if step.state not in ("done", "cached")]
        if any(number >= REBUILT for number in last):  # the engine had lost the image before that push
            failed = [name for name in failed if not name.startswith("push")]
        assert failed == []

    def _nothing_waits(self) -> bool:
        with closing(self.database()) as connection:
            waiting = connection.execute("SELECT count(*) FROM outbox").fetchone()[0]
        waiting += sum(topic["waiting"] + len(topic["dead"]) for topic in self.lumper.client.get("queue"))
        return bool(waiting == 0)

    def names_in_engine(self) -> list[str]:
        """The names under which the engine still has what workers of this Lumper built."""
        return [name for name in asyncio.run(_image_names()) if f"/{self.project.image}:" in name]

    def page(self, port: int) -> str:
        """What the service answers at a port of this machine, "" if it does not."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as response:
                return str(response.read().decode())
        except (OSError, urllib.error.URLError):
            return ""


@contextmanager
def line_of(
    lumper: LumperServer, forge: Forge, name: str = "shop", *, url: str = "", inbox: Mailbox | None = None
) -> Iterator[Line]:
    """A new project at a running Lumper; at the end, nothing of it is left in the engine."""
    project = forge.project(name)
    project.connect(lumper.client, url)
    try:
        yield Line(lumper, project, inbox)
    finally:
        for registry in {lumper.address, lumper.settings.get("worker.registry", lumper.address)}:
            asyncio.run(remove_service(project.name, f"{registry}/{project.image}"))


def mails_in(folder: Path) -> list[EmailMessage]:
    """All mails of a maildir, whichever client wrote it."""
    if not all((folder / name).is_dir() for name in ("cur", "new", "tmp")):  # the first mail is just coming
        return []
    box = mailbox.Maildir(folder, create=False)
    return [_parser.parsebytes(box.get_bytes(key)) for key in box.iterkeys()]


def body_of(mail: EmailMessage) -> str:
    """The plain text of a mail."""
    part = mail.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


async def _containers(service: str) -> list[dict[str, Any]]:
    async with engine() as docker:
        shown = []
        for container in await docker.containers.list(all=True, filters={"label": [f"lumper.service={service}"]}):
            with suppress(DockerError):  # it was removed meanwhile
                shown.append(await container.show())
        return shown


async def _image_names() -> list[str]:
    async with engine() as docker:
        return [name for image in await docker.images.list() for name in image.get("RepoTags") or ()]
