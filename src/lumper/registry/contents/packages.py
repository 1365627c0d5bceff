"""Packages out of the files in which package managers write them down. Pure.

Sources: deb822(5), dpkg's `status`; Alpine's wiki, "Apk spec", installed database; PyPA's "Recording installed
projects" and "Core metadata"; npm's package.json; package URL: purl-spec.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.parser import HeaderParser
from itertools import islice
from urllib.parse import quote

_MOST_LENGTH = 256  # of a name or version that is believed
_MOST_HEAD = (
    64 << 10
)  # characters in which a package has said its name: of more, a parser's memory and time have no end
_MOST_PARAGRAPHS = 200_000
_BLANK, _EMPTY = re.compile(r"\n[ \t]*\n"), re.compile(r"\n\n")
_NPM = re.compile(r"(?:.*/)?node_modules/((?:@[^/]+/)?[^/@][^/]*)/package\.json")
_PYTHON = re.compile(r"(?:.*/)?[^/]+\.(?:dist-info/METADATA|egg-info/PKG-INFO|egg-info)")


@dataclass(frozen=True, order=True)
class Package:
    """A package: `kind` as in package URLs; `source` is the path in the image that tells of it."""

    kind: str
    name: str
    version: str
    architecture: str = ""
    source: str = ""

    def url(self, distribution: Mapping[str, str]) -> str:
        """The package URL; `distribution` is the image's /etc/os-release."""
        system, number = distribution.get("ID", ""), distribution.get("VERSION_ID", "")
        space = quote(system or "unknown", safe="") + "/" if self.kind in ("deb", "apk", "rpm") else ""
        name = quote(self.name, safe="/") if self.kind == "npm" else quote(self.name, safe="")
        more = [f"arch={quote(self.architecture, safe='')}"] if self.architecture else []
        more += [f"distro={quote(f'{system}-{number}', safe='')}"] if space and system and number else []
        tail = f"?{'&'.join(more)}" if more else ""
        return f"pkg:{self.kind}/{space}{name}@{quote(self.version, safe='')}{tail}"


def interesting(path: str) -> bool:
    """Whether a file of this path may tell of packages, or of the distribution."""
    return (
        path in _READERS
        or path in OS_RELEASE
        or path.startswith("var/lib/dpkg/status.d/")
        or _PYTHON.fullmatch(path) is not None
        or _NPM.fullmatch(path) is not None
    )


OS_RELEASE = ("etc/os-release", "usr/lib/os-release")


def packages_in(path: str, content: bytes) -> Iterator[Package]:
    """The packages that the file tells of; none if it cannot be read."""
    text = content.decode("utf-8", "replace")
    if path in _READERS or path.startswith("var/lib/dpkg/status.d/"):
        found = _READERS.get(path, _dpkg)(text)
    elif _NPM.fullmatch(path):
        found = _npm(text)
    elif _PYTHON.fullmatch(path):
        found = _python(text)
    else:
        return
    for kind, name, version, architecture in found:
        if _sound(name) and _sound(version) and len(architecture) <= _MOST_LENGTH:
            yield Package(kind, name, version, architecture, path)


def os_release(content: bytes) -> dict[str, str]:
    """os-release(5), without its quotes."""
    lines = (line.partition("=") for line in content.decode("utf-8", "replace").splitlines())
    return {key: value.strip("\"'")[:_MOST_LENGTH] for key, sign, value in lines if sign and not key.startswith("#")}


_Found = Iterable[tuple[str, str, str, str]]


def _sound(text: str) -> bool:
    return 0 < len(text) <= _MOST_LENGTH and text.isprintable()


def _dpkg(text: str) -> _Found:
    for fields in _paragraphs(text, _BLANK):
        if fields.get("Status", "install ok installed").endswith(" installed"):
            yield "deb", fields.get("Package", ""), fields.get("Version", ""), fields.get("Architecture", "")


def _apk(text: str) -> _Found:
    for fields in _paragraphs(text, _EMPTY):
        yield "apk", fields.get("P", ""), fields.get("V", ""), fields.get("A", "")


def _paragraphs(text: str, between: re.Pattern[str]) -> Iterator[dict[str, str]]:
    """The fields of each, as far as anybody has so many packages."""
    start = 0
    for gap in islice(between.finditer(text), _MOST_PARAGRAPHS):
        yield _fields(text[start : min(gap.start(), start + _MOST_HEAD)])
        start = gap.end()
    yield _fields(text[start : start + _MOST_HEAD])


def _fields(paragraph: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in paragraph.splitlines():
        key, found, value = line.partition(":")
        if found and not key[:1].isspace():
            fields.setdefault(key, value.strip())
    return fields


def _python(text: str) -> _Found:
    headers = HeaderParser().parsestr(text[:_MOST_HEAD].partition("\n\n")[0])
    name = re.sub(r"[-_.]+", "-", str(headers.get("Name", ""))).lower()
    yield "pypi", name, str(headers.get("Version", "")), ""


def _npm(text: str) -> _Found:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return
    if isinstance(told, dict) and isinstance(told.get("name"), str) and isinstance(told.get("version"), str):
        yield "npm", told["name"], told["version"], ""


_READERS = {
    "var/lib/dpkg/status": _dpkg,
    "lib/apk/db/installed": _apk,
    "usr/lib/apk/db/installed": _apk,
}
DATABASES = frozenset(_READERS)
"""The files that tell of many packages each."""
