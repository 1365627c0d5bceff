"""Forgejo. Source: forgejo.org, "User guide: Webhooks"."""

from __future__ import annotations

from lumper.hooks.forges.gitea import Gitea


class Forgejo(Gitea):
    """Forgejo sends and signs what Gitea does, under X-Forgejo-… beside X-Gitea-…."""

    @property
    def name(self) -> str:
        """The name in URLs and on the command line."""
        return "forgejo"
