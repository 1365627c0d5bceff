"""Where people, forges and hosts find things: addresses made from the configuration, once."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True)
class Links:
    """The instance's addresses.

    `public_url` has no slash at its end. `registry` is HOST:PORT as people pull, `deploy_registry` as the hosts pull,
    `local` as programs on this machine reach it, which speak plain HTTP.
    """

    public_url: str
    registry: str
    deploy_registry: str
    local: str = ""

    def build(self, build_id: int) -> str:
        """The page of a build."""
        return f"{self.public_url}/builds/{build_id}"

    @property
    def services(self) -> str:
        """The page that shows what runs where."""
        return f"{self.public_url}/services"

    def hook(self, forge: str, project: str) -> str:
        """Where a forge delivers what happens to a project."""
        return f"{self.shared_hook(forge)}/{quote(project)}"

    def shared_hook(self, forge: str) -> str:
        """Where a forge delivers for all projects, which the delivery has to name."""
        return f"{self.public_url}/hooks/{forge}"
