"""What starts builds by itself: tags that no delivery told of, and the clock; and what somebody asks for by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from lumper.errors import Invalid, LumperError, NotFound
from lumper.forges.rules import judge
from lumper.line.history import History
from lumper.logs import get_logger
from lumper.model.builds.build import Build
from lumper.model.images.image import version_key
from lumper.model.refs import BRANCH_PREFIX, TAG_PREFIX
from lumper.model.source import Person, Project, Push, Verdict, is_safe_ref
from lumper.model.trigger import Trigger

log = get_logger(__name__)

_EVERY = timedelta(minutes=10)  # between two looks at a repository
_MOST = 10  # builds that one look starts; the rest wait for the next


class Ref(Protocol):
    """A tag or branch of a repository elsewhere."""

    @property
    def commit(self) -> str:
        """The commit behind it."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids by which a delivery may have told of it."""


class Remotes(Protocol):
    """Asks git servers."""

    async def refs(self, project: Project, login: tuple[str, str] | None) -> Mapping[str, Ref]:
        """All tags and branches by their full names, read with this user name and password. Raises SourceError."""


class Triggers:
    """Starts builds."""

    def __init__(self, history: History, remotes: Remotes) -> None:
        self._history = history
        self._remotes = remotes

    async def reconcile(self) -> None:
        """Look at those repositories whose turn it is, one after the other, and start what is missing."""
        for project in await self._history.triggers.unreconciled(_EVERY):
            try:
                await self._reconcile(project, await self._refs(project))
            except LumperError as exc:
                log.warning("its tags are not known", action="reconcile", project=project.name, error=exc.sentence)
                async with self._history.database.write() as connection:
                    await self._history.triggers.reconciled(connection, project.id)

    async def _reconcile(self, project: Project, refs: Mapping[str, Ref]) -> None:
        triggers = self._history.triggers
        known = await triggers.known_tags(project.id)
        there = {ref: found for ref, found in refs.items() if ref.startswith(TAG_PREFIX)}
        missing = [] if known is None else missed_tags(project, there, known, await triggers.built(project.id))
        late = {push.ref for push in missing[_MOST:]}
        async with self._history.database.write() as connection:
            for push in missing[:_MOST]:
                cause = "No delivery told of this tag."
                build_id, _ = await self._history.builds.queue(connection, project, push, Trigger.MISSED, cause)
                log.info("a tag was missed", action="reconcile", project=project.name, ref=push.ref, build=build_id)
            commits = {ref: found.commit for ref, found in there.items() if ref not in late}
            await triggers.reconciled(connection, project.id, commits)

    async def keep_schedules(self) -> None:
        """Start what is due by the clock."""
        for project in await self._history.triggers.scheduled():
            try:
                await self._on_schedule(project)
            except LumperError as exc:  # one may not hold up the others
                log.warning("a schedule was not kept", action="schedule", project=project.name, error=exc.sentence)
                async with self._history.database.write() as connection:
                    await self._history.triggers.take_schedule(connection, project.id)

    async def _on_schedule(self, project: Project) -> None:
        cause = f"The schedule {project.rules.schedule} (UTC)."
        push, newest = None, None
        if project.rules.schedule_ref:
            push = await self._push(project, project.rules.schedule_ref)
        else:
            newest = await self._history.triggers.newest_tag(project.id)
        async with self._history.database.write() as connection:
            await self._history.triggers.take_schedule(connection, project.id)
            builds, build_id, new = self._history.builds, newest.id if newest else 0, False
            if push is not None:
                build_id, new = await builds.queue(connection, project, push, Trigger.SCHEDULE, cause)
            if build_id and not new:
                await builds.all_restarted(connection, build_id, Trigger.SCHEDULE, cause)
        log.info("a schedule was kept", action="schedule", project=project.name, build=build_id)

    async def start(self, project: Project, name: str, who: str) -> Build:
        """Build a tag or branch because somebody asks for it; what was built before is built again.

        Raises NotFound, Invalid, SourceError.
        """
        push = await self._push(project, name)
        builds, cause = self._history.builds, f"Asked for by {who}."
        async with self._history.database.write() as connection:
            build_id, new = await builds.queue(connection, project, push, Trigger.MANUAL, cause)
            if not new:
                await builds.all_restarted(connection, build_id, Trigger.MANUAL, cause)
        return await builds.get(build_id)

    async def _refs(self, project: Project) -> Mapping[str, Ref]:
        return await self._remotes.refs(project, await self._history.projects.git_login(project.id))

    async def _push(self, project: Project, name: str) -> Push:
        """What a delivery would say of this tag, branch or full name. Raises NotFound, Invalid, SourceError."""
        names = [name] if name.startswith("refs/") else [TAG_PREFIX + name, BRANCH_PREFIX + name]
        if not is_safe_ref(names[0]):
            raise Invalid(f"{name[:200]!r} is not the name of a tag or branch.")
        refs = await self._refs(project)
        for ref in names:
            if ref in refs:
                return Push(project.repository, ref, refs[ref].commit)
        raise NotFound(f"{project.url} has no tag and no branch {name!r}.", hint="`git push --tags` brings tags there.")


def missed_tags(
    project: Project, there: Mapping[str, Ref], known: Mapping[str, str], built: Mapping[str, tuple[str, str]]
) -> list[Push]:
    """The tags to be built that came or moved since the last look, and of which something else was built last. Pure.

    The lowest versions come first, so that `latest` ends where it should.
    """
    found = []
    for ref, tag in there.items():
        last = built.get(ref, ())
        if known.get(ref) == tag.commit or set(last) & set(tag.ids):
            continue
        before = last[0] if last else known.get(ref, "")
        push = Push(project.repository, ref, tag.commit, before, pusher=Person())
        if judge(push, project.rules).verdict is Verdict.BUILD:
            found.append(push)
    return sorted(found, key=lambda push: (version_key(push.tag) or (0, 0, 0), push.ref))
