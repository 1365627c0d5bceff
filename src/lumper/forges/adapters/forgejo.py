"""Forgejo. Source: forgejo.org, "User guide: Webhooks"."""

from __future__ import annotations

from dataclasses import replace

from lumper.forges.adapters.gitea import Gitea


class Forgejo(Gitea):
    """Forgejo sends and signs the same as Gitea, under X-Forgejo-… beside X-Gitea-…, and has the same API."""

    name = "forgejo"
    hosts = ("codeberg.org",)
    words = ("forgejo",)
    guide = replace(
        Gitea.guide,
        title="Forgejo",
        way=("Settings", "Webhooks", "Add webhook", "Forgejo"),
        press="Add webhook",
        proof="`X-Forgejo-Signature` over the JSON",
    )
