"""Builds: the list, and one build with its live log."""

from __future__ import annotations

import re

from aiohttp import web

from lumper.errors import Invalid, NotFound
from lumper.line.history import History
from lumper.model.builds.build import Build, BuildState
from lumper.model.builds.log_search import LogSearch
from lumper.model.people.people import PEOPLE
from lumper.web.log_lines import check_kept, is_gone, text_of
from lumper.web.log_search import MOST_HITS, search_log
from lumper.web.pages.formats import stations
from lumper.web.pages.security import HEADERS
from lumper.web.pages.site import IDENTITY, VIEWERS, Site
from lumper.web.ports import Starter
from lumper.web.small_bodies import form_of
from lumper.web.sse import Streams, log_events
from lumper.web.visibility import check_seen, images_seen_by

_A_PAGE = 50
_SHOWN = 128 * 1024 * 1024  # bytes of a log that a page takes: more would be too much for browsers


class BuildPages:
    """The handlers."""

    def __init__(self, site: Site, history: History, streams: Streams, starter: Starter) -> None:
        self._starter = starter
        self._site = site
        self._history = history
        self._streams = streams

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve them."""
        page, one = self._site.page, r"/builds/{id:\d{1,18}}"
        router.add_get("/", page(self.all, VIEWERS))
        router.add_get("/builds", page(self.to_all, VIEWERS))
        router.add_get(one, page(self.one, VIEWERS))
        router.add_post("/builds/start", page(self.start))
        router.add_post(one + "/cancel", page(self.cancel))
        router.add_post(one + "/restart", page(self.restart))
        router.add_post(one + "/verify", page(self.verify))
        router.add_get(one + "/log.txt", page(self.text, VIEWERS))
        router.add_get(one + "/log/search", page(self.search, VIEWERS), allow_head=False)
        router.add_get(one + "/log/stream", page(self.stream, VIEWERS), allow_head=False)

    async def to_all(self, _request: web.Request) -> web.StreamResponse:
        """The address that people guess."""
        raise web.HTTPSeeOther("/")

    async def all(self, request: web.Request) -> web.Response:
        """The newest builds, of all projects or of one."""
        if self._site.alone:
            raise web.HTTPSeeOther("/images")
        project, before = request.query.get("project", ""), number(request, "before")
        images = await images_seen_by(request[IDENTITY], self._history)
        builds = await self._history.builds.newest(project=project, limit=_A_PAGE + 1, before=before, images=images)
        projects = [one for one in await self._history.projects.all() if images is None or one.image in images]
        return self._site.render(
            request,
            "builds.html",
            builds=builds[:_A_PAGE],
            older=builds[_A_PAGE - 1].id if len(builds) > _A_PAGE else None,
            newer=before is not None,
            running=sum(build.state is BuildState.RUNNING for build in builds),
            waiting=sum(build.state is BuildState.QUEUED for build in builds),
            project=project,
            projects=projects,
            waits=await self._history.builds.dispatch.waits(),
        )

    async def one(self, request: web.Request) -> web.Response:
        """One build."""
        build = await self._build(request)
        attempt = _attempt(request, build)
        log_size = await self._history.logs.size(build.id, attempt)
        whole = request[IDENTITY].role in PEOPLE
        rollout = await self._history.rollouts.of_build(build.id) if whole else None
        return self._site.render(
            request,
            "build.html",
            build=build,
            rollout=rollout,
            verification=await self._history.verifications.of(build),
            manifest=await self._history.images.manifest(build.image, build.digest) if build.digest else None,
            line=stations(build, rollout),
            wait=(await self._history.builds.dispatch.waits()).get(build.id),
            attempt=attempt,
            log_size=log_size,
            log_from=max(0, log_size - _SHOWN),
            gone=await is_gone(self._history.logs, build),
        )

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """Cancel the build and show it."""
        build = await self._history.builds.cancel(_id(request))
        self._history.logs.wake()
        raise web.HTTPSeeOther(f"/builds/{build.id}")

    async def start(self, request: web.Request) -> web.StreamResponse:
        """Build a tag or branch of a project because somebody asks for it, and show it."""
        form = await form_of(request)
        project = await self._history.projects.get(form.get("project", ""))
        who = request[IDENTITY].name
        build = await self._starter.start(project, form.get("ref", "").strip(), who)
        raise web.HTTPSeeOther(f"/builds/{build.id}")

    async def restart(self, request: web.Request) -> web.StreamResponse:
        """Build the same commit again and show it."""
        build = await self._history.builds.restart(_id(request))
        raise web.HTTPSeeOther(f"/builds/{build.id}")

    async def verify(self, request: web.Request) -> web.StreamResponse:
        """Build it once more to compare the images, and show that build."""
        begun = await self._history.verifications.begin(_id(request))
        raise web.HTTPSeeOther(f"/builds/{begun.by}")

    async def text(self, request: web.Request) -> web.StreamResponse:
        """The log as text, to look at or to keep: as a person reads it, or raw, as programs have printed it."""
        build = await self._build(request)
        attempt = _attempt(request, build)
        await check_kept(self._history.logs, build)
        raw = request.query.get("raw") == "1"
        kind = "attachment" if request.query.get("download") == "1" else "inline"
        end = f"build-{build.id}-{attempt}{'.raw' if raw else ''}.log"
        name = re.sub("[^A-Za-z0-9._-]+", "-", f"{build.project}-{build.tag}-{end}")
        own = {"Content-Type": "text/plain; charset=utf-8", "Content-Disposition": f'{kind}; filename="{name}"'}
        response = web.StreamResponse(headers={**HEADERS, **own})
        await response.prepare(request)
        async for part in text_of(self._history.logs, build.id, attempt, raw=raw):
            await response.write(part)
        await response.write_eof()
        return response

    async def search(self, request: web.Request) -> web.Response:
        """The lines that have the text `q`: how many, and of the first ones step and line."""
        build = await self._build(request)
        attempt, query = _attempt(request, build), LogSearch(request.query.get("q", ""))
        logs, begin = self._history.logs, number(request, "from") or 0
        await check_kept(logs, build)
        found = await search_log(logs, build.id, attempt, query, begin, MOST_HITS)
        hits = [[hit.step, hit.line] for hit in found.hits]
        return web.json_response({"count": found.count, "hits": hits, "whole": found.whole})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """The log as events, from the offset in Last-Event-ID or else in `from` on."""
        build = await self._build(request)
        attempt = _attempt(request, build)
        offset = _digits("Last-Event-ID", request.headers.get("Last-Event-ID", "")) or number(request, "from") or 0
        return await self._streams.send(request, log_events(self._history, build, attempt, offset))

    async def _build(self, request: web.Request) -> Build:
        build = await self._history.builds.get(_id(request))
        check_seen(request[IDENTITY], build)
        return build


def number(request: web.Request, name: str) -> int | None:
    """A number in the query, or None. Raises Invalid."""
    return _digits(name, request.query.get(name, ""))


def _digits(name: str, text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Invalid(f"{name} must be a number.")
    return int(text)


def _id(request: web.Request) -> int:
    return int(request.match_info["id"])


def _attempt(request: web.Request, build: Build) -> int:
    attempt = number(request, "attempt")
    if attempt is None:
        return build.attempt
    if not 1 <= attempt <= build.attempt:
        raise NotFound(f"Build {build.id} has no attempt {attempt}.")
    return attempt
