"""Where buildx is, and how it is called: by itself, without the `docker` program that it is a plugin of."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

_PLUGINS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
"""Where Docker looks for plugins, behind the folder of the user. Source: docker/cli, cli-plugins/manager."""

_FROM_OPERATOR = (
    *("PATH", "DOCKER_HOST", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "KUBECONFIG"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
)


def find_buildx(outer: Mapping[str, str] = os.environ) -> str:
    """The path of the plugin; its plain name where there is none, so that starting it says so."""
    own = Path(outer.get("DOCKER_CONFIG") or Path(outer.get("HOME", "/")) / ".docker") / "cli-plugins"
    for folder in (own, *map(Path, _PLUGINS)):
        if os.access(folder / "docker-buildx", os.X_OK):
            return str(folder / "docker-buildx")
    return shutil.which("docker-buildx", path=outer.get("PATH", os.defpath)) or "docker-buildx"


def environment(home: Path, login: Path, outer: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Everything that buildx may know: the operator's builders, but the logins of one build instead of his."""
    config = Path(outer.get("DOCKER_CONFIG") or Path(outer.get("HOME", "/")) / ".docker")
    return {
        "PATH": os.defpath,
        **{name: outer[name] for name in _FROM_OPERATOR if name in outer},
        "HOME": str(home),
        "LC_ALL": "C",
        "DOCKER_CONFIG": str(login),
        "BUILDX_CONFIG": outer.get("BUILDX_CONFIG") or str(config / "buildx"),
        "BUILDX_METADATA_PROVENANCE": "disabled",
        "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
    }


HINT = (
    "Install buildx (Debian 13: `apt-get install docker-buildx`) and make the builder: `docker buildx create --name"
    " NAME --driver docker-container --bootstrap`; [worker] builder is its name."
)
