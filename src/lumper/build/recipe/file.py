"""The tables of `lumper.toml` as pydantic models: every key, its type and its default."""

from __future__ import annotations

from pydantic import Field, model_validator

from lumper.build.recipe.image_tags import FlavorTable, Templates
from lumper.build.recipe.settings import AskedTable
from lumper.build.recipe.values import (
    Below,
    BuildArguments,
    Command,
    HttpPath,
    ImageName,
    Labels,
    Name,
    Patterns,
    PublishedPorts,
    Seconds,
    Table,
    Text,
    TreePath,
    Variables,
    Volumes,
)


class BuildTable(AskedTable):
    """`[build]`: what to build."""

    dockerfile: TreePath = "Dockerfile"
    context: TreePath = "."
    target: Text = ""
    args: BuildArguments = Field(default={})
    labels: Labels = Field(default={})
    tags: Templates | None = None
    flavor: FlavorTable = FlavorTable()


class OnTable(Table):
    """Which pushes are built, of those that the project's own rules let through."""

    tags: Patterns | None = None
    branches: Patterns | None = None
    paths: Patterns | None = None


class ImageTable(BuildTable):
    """`[image.NAME]`: one of several images."""

    image: Below | None = None
    on: OnTable = OnTable()


class HealthTable(Table):
    """`[deploy.health]`: how a new container proves itself."""

    http: HttpPath = ""
    port: int = Field(default=0, ge=0, le=65535)
    command: Command = ()
    interval: Seconds = 0.5
    timeout: Seconds = 30.0
    stable: Seconds = 2.0

    @model_validator(mode="after")
    def _one_way(self) -> HealthTable:
        if self.http and self.command:
            raise ValueError("give either `http` or `command`, not both")
        if self.port and not self.http:
            raise ValueError("`port` is where `http` is asked for: give `http` too")
        return self


class DeployTable(Table):
    """`[deploy]`: what to run of the image."""

    name: Name = ""
    image: str = ""
    ports: PublishedPorts = ()
    env: Variables = Field(default={})
    volumes: Volumes = Field(default={})
    command: Command = ()
    stop_timeout: Seconds = 10.0
    health: HealthTable = HealthTable()

    @model_validator(mode="after")
    def _fits_together(self) -> DeployTable:
        taken = [(port.address, port.host, port.protocol) for port in self.ports if port.host]
        if len(set(taken)) < len(taken):
            raise ValueError("two of the `ports` want the same port of the host")
        if self.health.http and not self.health.port and not any(port.protocol == "tcp" for port in self.ports):
            raise ValueError("`health.http` needs `health.port`, since no tcp port is published")
        return self


class SourceTable(Table):
    """`[source]`: what is fetched besides the commit itself."""

    submodules: bool = False
    lfs: bool = False


class RecipeFile(Table):
    """The whole file. Without `[deploy]` nothing is run."""

    source: SourceTable = SourceTable()
    build: BuildTable = BuildTable()
    image: dict[ImageName, ImageTable] = Field(default={}, max_length=50)
    on: OnTable = OnTable()
    deploy: DeployTable | None = None

    @model_validator(mode="after")
    def _one_form(self) -> RecipeFile:
        if self.image and "build" in self.model_fields_set:
            raise ValueError("give either [build] or [image.NAME] tables, not both")
        if self.deploy is not None and self.image and self.deploy.image not in self.image:
            raise ValueError("[deploy] needs `image`, one of " + ", ".join(sorted(self.image)))
        if self.deploy is not None and self.deploy.image and not self.image:
            raise ValueError("[deploy] names an `image`, and there is no [image.NAME] table")
        repositories = [name if table.image is None else table.image for name, table in self.image.items()]
        if len(set(repositories)) < len(repositories):
            raise ValueError("two images have the same repository: their tags would be taken from one another")
        return self
