"""One repository, two images: from one git tag to two builds, two repositories and one container."""

from __future__ import annotations

from typing import Any

import pytest

from parts.line.line import Line
from parts.registries.registry_reader import RegistryReader
from parts.suite.waiting import wait_for

pytestmark = pytest.mark.docker

RECIPE = """\
[image.web]
tags = ["semver:v{{version}}", "semver:{{major}}", { template = "raw:edge", branches = ["main"] }]

[image.api]
image = ""
labels = { "org.example.part" = "api" }

[deploy]
image = "api"
ports = ["8080"]

[deploy.health]
http = "/"
interval = 0.1
"""


def by_recipe(line: Line) -> dict[str, dict[str, Any]]:
    """The builds of the project by the name of their image."""
    return {build["recipe"]: build for build in line.builds()}


def test_one_tag_becomes_two_images_and_two_mails(line: Line) -> None:
    first = line.project.release("v1.2.3", {"index.html": "both", "lumper.toml": RECIPE})
    wait_for(lambda: by_recipe(line).keys() == {"web", "api"}, "a build of each image")
    built = {name: line.succeeded(build["id"]) for name, build in by_recipe(line).items()}
    assert built["web"]["id"] == first
    assert built["web"]["tags"] == ["v1.2.3", "1", "latest"]
    assert built["api"]["tags"] == ["1.2.3", "1.2", "1", "latest"]
    token = (line.lumper.data / "tokens" / "operator").read_text().strip()
    web = RegistryReader(line.lumper.url, token, f"{line.project.image}/web")
    assert {web.digest(tag) for tag in built["web"]["tags"]} == {built["web"]["digest"]}
    assert line.image().digest("1.2.3") == built["api"]["digest"]
    assert line.image().config("latest")["config"]["Labels"]["org.example.part"] == "api"
    assert "images: web, api" in line.text(first, 1)

    assert line.rollout(built["api"]["id"])["state"] == "succeeded"
    (container,) = line.containers()
    assert built["api"]["digest"] in container["Config"]["Image"]
    for name in built:
        line.mail(f"{line.project.name} v1.2.3 {name} built")

    again = line.lumper.client.post(f"builds/{built['web']['id']}/restart")
    assert line.succeeded(again["id"])["attempt"] == 3
    assert line.build(built["api"]["id"])["attempt"] == 1
