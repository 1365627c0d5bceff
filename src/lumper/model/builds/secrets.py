"""Secrets that builds are given: values, keys for ssh, credentials for registries; and which builds may have one."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from lumper.model.patterns import matches
from lumper.model.refs import BRANCH_PREFIX, TAG_PREFIX

MOST_BYTES = 32 << 10  # of one value: in base64 it fits into the body of a request
DOCKER_HUB = "docker.io"
_HUB_NAMES = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
_PRIVATE_KEY = re.compile(rb"-----BEGIN ([A-Z0-9 ]*)PRIVATE KEY-----\r?\n(.*?)-----END \1PRIVATE KEY-----", re.DOTALL)
_OPEN_KEY = b"openssh-key-v1\0\0\0\0\4none"  # and the name of the cipher, with its length
_NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,63}")
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])"
    r"(?::[0-9]{1,5})?"
)


class Kind(StrEnum):
    """What a secret is: what `RUN --mount=type=secret` reads, a private key of ssh, or credentials for a registry."""

    VALUE = "value"
    SSH = "ssh"
    LOGIN = "login"


@dataclass(frozen=True)
class Secret:
    """What is known of a secret; its value is shown to nobody.

    `project` "": of all projects, which credentials for registries can be. `name` is that of the secret, the id of an
    ssh key, or a registry's HOST[:PORT]. Builds of tags may have it, and those of branches that fit `branches`.
    """

    project: str
    kind: Kind
    name: str
    username: str
    branches: tuple[str, ...]
    changed_at: datetime
    changed_by: str


@dataclass(frozen=True)
class Needed:
    """What an attempt asks for: names of values, ids of keys, and whether it has to know which tags are taken."""

    values: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    taken: bool = False


@dataclass(frozen=True)
class GivenSecrets:
    """What one attempt of a build is given.

    `values` are by name, `keys` for ssh by id, `logins` by registry are user names and passwords. `refused` are names
    and ids that there are, and that are not for a build of this ref. `registry` is how people name our own registry.
    `taken` are the image tags that higher versions have moved.
    """

    values: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    keys: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    logins: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    refused: frozenset[str] = frozenset()
    registry: str = ""
    taken: frozenset[str] = frozenset()


def may_have(ref: str, branches: Sequence[str]) -> bool:
    """Whether a build of this ref may have a secret that is for tags and these branches.

    Who may push a tag releases; a branch is often open to more people, and its Dockerfile can print what it is given.
    Other refs, such as a forge makes of pull requests of strangers, have none.

    >>> may_have("refs/tags/v1", ()), may_have("refs/heads/main", ()), may_have("refs/heads/main", ("main",))
    (True, False, True)
    >>> may_have("refs/pull/1/head", ("**",))
    False
    """
    if ref.startswith(BRANCH_PREFIX):
        return matches(branches, ref.removeprefix(BRANCH_PREFIX))
    return ref.startswith(TAG_PREFIX)


def as_kept(content: bytes) -> bytes:
    """A secret that came from a file or a form: a single line without its end, which programs would take for a part.

    >>> as_kept(b"token\\n"), as_kept(b"one\\ntwo\\n")
    (b'token', b'one\\ntwo\\n')
    """
    bare = content.rstrip(b"\r\n")
    return content if b"\n" in bare else bare


def key_problem(key: bytes) -> str:
    """Why an ssh agent does not take this as a private key, "" if it may: it is in PEM, without a passphrase.

    Source: RFC 7468; RFC 1421, section 4.6.1.1 (Proc-Type); OpenSSH, PROTOCOL.key.

    >>> key_problem(b"token")
    'is no private key'
    """
    found = _PRIVATE_KEY.search(key)
    if not found:
        return "is no private key"
    form, body = found[1], found[2]
    try:
        new = base64.b64decode(body) if form == b"OPENSSH " else b""
    except binascii.Error:
        return "is no private key"
    if b"ENCRYPTED" in form + body or (new and not new.startswith(_OPEN_KEY)):
        return "has a passphrase"
    return ""


def is_secret_name(name: str) -> bool:
    """Whether a secret, or the id of one, can have this name."""
    return _NAME.fullmatch(name) is not None


def registry_host(host: str) -> str:
    """HOST[:PORT] as it stands in the names of images, whichever of Docker Hub's names it is. Raises ValueError.

    >>> registry_host("https://index.docker.io/v1/"), registry_host("Registry.Example.com:5000")
    ('docker.io', 'registry.example.com:5000')
    """
    bare = host.strip().removeprefix("https://").removeprefix("http://").partition("/")[0].lower()
    if not _HOST.fullmatch(bare) or len(bare) > 255:
        raise ValueError(f"{host[:300]!r} is not the HOST[:PORT] of a registry.")
    return DOCKER_HUB if bare in _HUB_NAMES else bare
