"""Names of images, and the rule that turns a git tag into image tags.

Source of the grammars: OCI distribution-spec 1.1, "Pulling manifests".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from lumper.model.refs import BRANCH_PREFIX, TAG_PREFIX

LATEST = "latest"
CACHE_TAG = "buildcache"
PRIVATE_PREFIX = "_build-"  # tags of builds that are not accepted yet: never listed, never moved by people

SIGNATURE_TYPE = "application/vnd.dev.cosign.artifact.sig.v1+json"
IN_TOTO = "application/vnd.in-toto+json"
PREDICATE = "in-toto.io/predicate-type"  # the annotation of such a referrer that says what it tells
STATEMENTS = (SIGNATURE_TYPE, IN_TOTO)
"""Types of artifacts that are of no use without the image that they tell of."""

_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}")
_VERSION = re.compile(
    r"v?(?P<major>0|[1-9]\d*)\.(?P<minor>0|[1-9]\d*)\.(?P<patch>0|[1-9]\d*)"
    r"(?P<pre>-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?(?P<meta>\+[0-9A-Za-z.-]+)?"
)
_PRIVATE_TAG = re.compile(rf"{PRIVATE_PREFIX}([0-9]{{1,18}})-[0-9]{{1,18}}")
_BESIDE = re.compile(r"(sha256|sha512)-([0-9a-f]{64}|[0-9a-f]{128})(\..+)?")
_NOT_LEGAL = re.compile(r"[^a-zA-Z0-9._-]+")


def is_repository(name: str) -> bool:
    """Whether `name` is a legal repository name of at most 255 characters."""
    return len(name) <= 255 and _REPOSITORY.fullmatch(name) is not None


def is_tag(name: str) -> bool:
    """Whether `name` is a legal image tag."""
    return _TAG.fullmatch(name) is not None


def is_cache_tag(name: str) -> bool:
    """Whether this is a tag for the caches of builds: `buildcache`, or one that begins with `buildcache-`."""
    return is_tag(name) and (name == CACHE_TAG or name.startswith(f"{CACHE_TAG}-"))


def is_digest(text: str) -> bool:
    """Whether `text` is a digest of an algorithm that Lumper keeps (sha256, sha512)."""
    return _DIGEST.fullmatch(text) is not None


def digest_of(content: bytes, like: str = "sha256:") -> str:
    """The digest of these bytes, by the algorithm of the digest `like`."""
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def repository_name(path: str) -> str:
    """The registry repository for a git repository's path: lower case, illegal characters replaced.

    >>> repository_name("Owner/My App")
    'owner/my-app'
    """
    parts = [re.sub(r"[^a-z0-9]+$|^[^a-z0-9]+", "", re.sub(r"[^a-z0-9._-]+", "-", p.lower())) for p in path.split("/")]
    parts = [re.sub(r"\.{2,}|_{3,}|[._-]*(?:\._|_\.|-\.|\.-|-_|_-)[._-]*", "-", p) for p in parts if p]
    return "/".join(parts)[:200].rstrip("/._-") or "image"


def image_tags(git_tag: str) -> tuple[str, ...]:
    """The image tags that a git tag moves, the most exact first.

    A version `v1.2.3` moves `1.2.3`, `1.2`, `1` and `latest`; a pre-release only its own; any other tag its own
    name made legal. Version grammar: Semantic Versioning 2.0.0, §2 and §9, with an optional `v`.

    >>> image_tags("v1.2.3")
    ('1.2.3', '1.2', '1', 'latest')
    >>> image_tags("v1.2.3-rc.1")
    ('1.2.3-rc.1',)
    """
    match = _VERSION.fullmatch(git_tag)
    if match is None:
        return _legal(git_tag)
    major, minor, patch, pre = match["major"], match["minor"], match["patch"], match["pre"] or ""
    exact = f"{major}.{minor}.{patch}{pre}" + _NOT_LEGAL.sub("_", match["meta"] or "")
    if len(exact) > 128:
        return ()
    return (exact,) if pre else (exact, f"{major}.{minor}", major, LATEST)


def _legal(name: str) -> tuple[str, ...]:
    legal = _NOT_LEGAL.sub("-", name).lstrip(".-")[:128]
    if legal.startswith(PRIVATE_PREFIX):
        legal = legal.lstrip("_")
    return (legal,) if is_tag(legal) else ()


def branch_tags(branch: str) -> tuple[str, ...]:
    """The image tag that a branch moves: its name made legal, and told apart from what versions move.

    >>> branch_tags("feature/login"), branch_tags("1.2"), branch_tags("latest")
    (('feature-login',), ('branch-1.2',), ('branch-latest',))
    """
    version_like = branch == LATEST or re.fullmatch(r"v?\d+(\.\d+)*.*", branch)
    return _legal(f"branch-{branch}" if version_like else branch)


def version_key(git_tag: str) -> tuple[int, int, int] | None:
    """The release version in a git tag as numbers, or None for pre-releases and other tags."""
    match = _VERSION.fullmatch(git_tag)
    return (int(match["major"]), int(match["minor"]), int(match["patch"])) if match and not match["pre"] else None


def moved_tags(ref: str, built_before: Iterable[str]) -> tuple[str, ...]:
    """The image tags that a successful build of a tag or branch moves, given the git tags that were built before.

    A patch of an old line does not take `latest`, `1` or `1.2` back from a higher version.

    >>> moved_tags("refs/tags/v1.2.4", ["v1.3.0", "v2.0.0"])
    ('1.2.4', '1.2')
    """
    if ref.startswith(BRANCH_PREFIX):
        return branch_tags(ref.removeprefix(BRANCH_PREFIX))
    git_tag = ref.removeprefix(TAG_PREFIX)
    version, wanted = version_key(git_tag), image_tags(git_tag)
    if version is None or not wanted:
        return wanted
    higher = [other for tag in built_before if (other := version_key(tag)) and other > version]
    exact, minor, major, latest = wanted
    moved = [exact]
    moved += [minor] if not any(other[:2] == version[:2] for other in higher) else []
    moved += [major] if not any(other[:1] == version[:1] for other in higher) else []
    moved += [latest] if not higher else []
    return tuple(moved)


def fitting(sizes: Iterable[int], most: int) -> int:
    """How many of these sizes, from the first on, add up to at most `most`; at least one, if there is one.

    >>> fitting([3, 4, 5], 8)
    2
    """
    count = total = 0
    for size in sizes:
        total += size
        if count and total > most:
            break
        count += 1
    return count


def private_tag(build_id: int, attempt: int) -> str:
    """The tag under which a worker pushes before the server has accepted the build."""
    return f"{PRIVATE_PREFIX}{build_id}-{attempt}"


def build_of(tag: str) -> int | None:
    """The build that a private tag belongs to; None for other tags.

    >>> build_of("_build-7-2")
    7
    """
    match = _PRIVATE_TAG.fullmatch(tag)
    return int(match[1]) if match else None


def tags_beside(digest: str) -> list[str]:
    """The tags that say something of an image, as cosign and clients without the referrers API name them.

    >>> tags_beside("sha256:ab")
    ['sha256-ab', 'sha256-ab.sig', 'sha256-ab.att', 'sha256-ab.sbom']
    """
    name = digest.replace(":", "-")
    return [name, *(f"{name}.{kind}" for kind in ("sig", "att", "sbom"))]


def statement_tags(digest: str) -> list[str]:
    """Those of `tags_beside` that hold a signature or the like themselves, and not a list of referrers."""
    return tags_beside(digest)[1:]


def beside(tag: str) -> str:
    """The digest of the image that a tag says something of, as cosign names its tags; "" for other tags.

    >>> beside("sha256-" + "ab" * 32 + ".sig") == "sha256:" + "ab" * 32
    True
    """
    match = _BESIDE.fullmatch(tag)
    return f"{match[1]}:{match[2]}" if match else ""


@dataclass(frozen=True)
class Tag:
    """A name in a repository and the digest that it points at. `build_id` is None for a push by hand."""

    name: str
    digest: str
    updated_at: datetime
    build_id: int | None = None


@dataclass(frozen=True)
class TagState:
    """A tag as retention sees it: when it was set, and when what it points at was last pulled."""

    name: str
    digest: str
    updated_at: datetime
    pulled_at: datetime | None = None


@dataclass(frozen=True)
class Manifest:
    """What the registry knows of a manifest. `size` is that of its own bytes, `total` includes layers and config."""

    digest: str
    media_type: str
    size: int
    total: int
    created_at: datetime
    build_id: int | None = None


@dataclass(frozen=True)
class Image:
    """A repository as a listing shows it."""

    name: str
    tags: int
    size: int
    updated_at: datetime


@dataclass(frozen=True)
class Link:
    """What a manifest refers to: a blob (layer, config) or another manifest. `size` in bytes."""

    digest: str
    size: int
    manifest: bool = False


@dataclass(frozen=True)
class NewManifest:
    """A manifest that was checked and is about to be known.

    `subject` is the digest it refers to, or ""; only with one are there `annotations`, for the list of referrers.
    """

    digest: str
    media_type: str
    size: int
    links: tuple[Link, ...]
    subject: str = ""
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Referrer:
    """A manifest that refers to another one as its subject: a signature, an SBOM. `size` in bytes."""

    digest: str
    media_type: str
    size: int
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Name:
    """What the storage itself says: that a repository has a manifest, or where one of its tags points.

    `reference` is the manifest's digest or the tag; `says` the manifest's media type, or the digest that the tag
    points at. From the storage come names that nobody has checked.
    """

    repository: str
    reference: str
    says: str

    @property
    def is_tag(self) -> bool:
        """Whether this is about a tag."""
        return ":" not in self.reference

    @property
    def legal(self) -> bool:
        """Whether this can be true at all."""
        fits = is_tag(self.reference) and is_digest(self.says) if self.is_tag else is_digest(self.reference)
        return fits and is_repository(self.repository)


@dataclass(frozen=True)
class Rename:
    """A name that changed, of which the storage has not heard yet or not for certain."""

    number: int
    repository: str
    reference: str
    at: datetime


@dataclass(frozen=True)
class Restored:
    """A manifest that the storage names, those of its blobs that are there, and the time since when it is named."""

    manifest: NewManifest
    blobs: tuple[Link, ...]
    at: datetime
