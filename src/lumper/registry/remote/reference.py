"""What names an image at a registry. Pure.

Source of the grammar: distribution's "Reference" package documentation; Docker's rules for names without a host.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lumper.errors import Invalid
from lumper.model.images.image import LATEST, is_digest, is_repository, is_tag

HUB = "registry-1.docker.io"
_HUB_NAMES = ("docker.io", "index.docker.io", "registry.hub.docker.com", HUB)
_SCHEMES = {"docker://": "https", "https://": "https", "http://": "http"}
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_HINT = "Write HOST/NAME:TAG, HOST/NAME@sha256:…, or NAME:TAG for Lumper's own registry."


@dataclass(frozen=True)
class Reference:
    """An image at a registry. `url` is the registry's, "" for our own; one of `tag` and `digest` is set."""

    url: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """What the registry is asked for: the digest, if there is one."""
        return self.digest or self.tag

    def __str__(self) -> str:
        host = self.url.partition("://")[2]
        place = f"{host}/{self.repository}" if host else self.repository
        return f"{place}@{self.digest}" if self.digest else f"{place}:{self.tag}"


def checked_url(text: str) -> str:
    """The URL of a registry, https:// without any scheme. Raises Invalid."""
    scheme, _, host = text.rstrip("/").rpartition("://")
    if not _HOST.fullmatch(host) or scheme not in ("https", "http", ""):
        raise Invalid(f"{text!r} is not the URL of a registry.", hint="Give https://HOST, or http://HOST without TLS.")
    return f"{scheme or 'https'}://{HUB if host in _HUB_NAMES else host}"


def parse_reference(text: str) -> Reference:
    """Read `docker://HOST/NAME:TAG`, `http://HOST/NAME:TAG` (without TLS), `HOST/NAME@DIGEST` or `NAME:TAG`.

    A name whose first part looks like a host (it has a dot or a colon, or is `localhost`) is at that host, another one
    in our own registry; after `docker://` that is Docker Hub, as in Docker. Raises Invalid.
    """
    scheme = next((known for known in _SCHEMES if text.startswith(known)), "")
    rest, _, digest = text.removeprefix(scheme).partition("@")
    host, slash, name = rest.partition("/")
    if not scheme.startswith("http") and not (slash and ("." in host or ":" in host or host == "localhost")):
        host, name = ("docker.io" if scheme else ""), rest
    name, colon, tag = name.partition(":")
    if host in _HUB_NAMES:
        host, name = HUB, name if "/" in name else f"library/{name}"
    if (host or scheme.startswith("http")) and not _HOST.fullmatch(host):
        raise Invalid(f"{text!r} does not name a registry.", hint=_HINT)
    tag = tag if colon else ("" if digest else LATEST)
    if not is_repository(name) or ((tag or colon) and not is_tag(tag)) or ("@" in text and not is_digest(digest)):
        raise Invalid(f"{text!r} does not name an image.", hint=_HINT)
    return Reference(f"{_SCHEMES.get(scheme, 'https')}://{host}" if host else "", name, "" if digest else tag, digest)
