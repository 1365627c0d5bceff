"""A project of the API whose repository lies in a folder beside it."""

from __future__ import annotations

from parts.git.git_repository import Repository
from parts.web.live_api import Api


def repository_of(api: Api) -> Repository:
    """A repository that the API may use by its path, with the tag v1.0.0."""
    repository = Repository(api.folder / "allowed/owner/app.git")
    repository.tag("v1.0.0", repository.commit({"Dockerfile": "FROM scratch\n"}), annotated=True)
    return repository


async def add(api: Api, origin: Repository, **rules: object) -> str:
    """Add the project `app` of this repository, with these rules; its id."""
    answer = await api.ask("POST", "/projects", {"url": str(origin.path), "name": "app"})
    assert answer.status == 201, answer.body
    if rules:
        answer = await api.ask("PUT", "/projects/app/rules", rules)
        assert answer.status == 200, answer.body
    return str(answer.body["id"])


async def builds(api: Api) -> list[tuple[str, str, str]]:
    """The ref, the trigger and the state of every build, the oldest first."""
    found = (await api.ask("GET", "/builds")).body
    return [(build["ref"], build["trigger"], build["state"]) for build in reversed(found)]


async def states(api: Api) -> list[str]:
    """The state of every build, the oldest first."""
    return [state for *_, state in await builds(api)]
