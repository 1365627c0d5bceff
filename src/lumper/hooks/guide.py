"""What a person enters at each forge so that it tells of pushes. Pure data, for the pages and the command line.

Sources: the forges' own manuals on webhooks, as named in the file of each forge.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Guide:
    """The way to a forge's webhook. `fields` are what its form asks for, with what to enter; {hook} is the address."""

    forge: str
    title: str
    way: tuple[str, ...]
    fields: tuple[tuple[str, str], ...]
    press: str
    note: str = ""

    def steps(self, hook: str) -> list[str]:
        """The steps as sentences, with the address to deliver to."""
        entered = [f"{field}: {value.format(hook=hook)}" for field, value in self.fields]
        steps = [f"Open the repository, then {' → '.join(self.way)}.", *entered, f"Press {self.press}."]
        return [*steps, self.note] if self.note else steps


_SECRET = ("Secret", "the project's secret")
_PRIVATE = (
    "If Lumper is in the same private network, the forge must allow it: [webhook] ALLOWED_HOST_LIST in its app.ini."
)

GUIDES = (
    Guide(
        "github",
        "GitHub",
        ("Settings", "Webhooks", "Add webhook"),
        (
            ("Payload URL", "{hook}"),
            ("Content type", "application/json"),
            _SECRET,
            ("Which events", "Just the push event (tags are pushes)"),
        ),
        "Add webhook",
    ),
    Guide(
        "gitlab",
        "GitLab",
        ("Settings", "Webhooks", "Add new webhook"),
        (
            ("URL", "{hook}"),
            ("Secret token", "the project's secret"),
            ("Trigger", "Push events (all branches) and Tag push events"),
        ),
        "Add webhook",
        "With a signing token instead of a secret token, give Lumper that token: "
        "lumper project secret NAME --secret-file FILE. More than three tags in one push bring no webhook "
        "(push_event_hooks_limit).",
    ),
    Guide(
        "gitea",
        "Gitea",
        ("Settings", "Webhooks", "Add Webhook", "Gitea"),
        (
            ("Target URL", "{hook}"),
            ("HTTP method", "POST"),
            ("Content type", "application/json"),
            _SECRET,
            ("Trigger on", "Push events; leave the branch filter at *"),
        ),
        "Add Webhook",
        _PRIVATE,
    ),
    Guide(
        "forgejo",
        "Forgejo",
        ("Settings", "Webhooks", "Add webhook", "Forgejo"),
        (
            ("Target URL", "{hook}"),
            ("HTTP method", "POST"),
            ("Content type", "application/json"),
            _SECRET,
            ("Trigger on", "Push events; leave the branch filter at *"),
        ),
        "Add webhook",
        _PRIVATE,
    ),
    Guide(
        "gogs",
        "Gogs",
        ("Settings", "Webhooks", "Add a new webhook", "Gogs"),
        (
            ("Payload URL", "{hook}"),
            ("Content type", "application/json"),
            _SECRET,
            ("When should this webhook be triggered", "I need everything, or Create and Push: a tag is a Create"),
        ),
        "Add Webhook",
    ),
    Guide(
        "bitbucket-cloud",
        "Bitbucket Cloud",
        ("Repository settings", "Webhooks", "Add webhook"),
        (("URL", "{hook}"), _SECRET, ("Triggers", "Repository push")),
        "Save",
        "Up to five refs of one push come along: push many tags in several goes.",
    ),
    Guide(
        "bitbucket-server",
        "Bitbucket Server and Data Center",
        ("Repository settings", "Webhooks", "Create webhook"),
        (("URL", "{hook}"), _SECRET, ("Events", "Repository: Push")),
        "Create",
    ),
)

_HOSTS = {
    "github.com": "github",
    "gitlab.com": "gitlab",
    "codeberg.org": "forgejo",
    "gitea.com": "gitea",
    "bitbucket.org": "bitbucket-cloud",
}
_WORDS = ("gitlab", "forgejo", "gitea", "gogs", "github")


def likely_forge(url: str) -> str:
    """The forge that a git URL is probably of, by its host and path; "" if nothing tells."""
    host = (urlsplit(url).hostname or "") if "://" in url else url.partition("@")[2].partition(":")[0]
    host = host.lower()
    if host in _HOSTS:
        return _HOSTS[host]
    if "/scm/" in urlsplit(url).path or "bitbucket" in host:
        return "bitbucket-server"
    return next((word for word in _WORDS if word in host), "")


def post_receive(project: str, command: Sequence[str] = ("lumper",)) -> str:
    """The hook of a git repository without a forge, which starts a build of every tag that was not removed."""
    return f"""#!/bin/sh
while read -r old new ref; do
  case "$ref" in refs/tags/*)
    git rev-parse -q --verify "$ref" > /dev/null && {shlex.join(command)} start {shlex.quote(project)} "$ref" ;;
  esac
done
"""
