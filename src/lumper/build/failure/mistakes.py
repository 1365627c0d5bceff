"""What somebody may have meant whose Dockerfile an engine refuses, and what to write instead. Pure.

The texts are those of BuildKit from 0.8 on (moby/buildkit, frontend/dockerfile) and of buildah.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from lumper.build.context.dockerfile import Instruction, instructions, stage_names
from lumper.build.failure.step_lines import images_in
from lumper.build.failure.variables import unset
from lumper.build.source.suggestions import near

_KEYWORDS = (
    *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER"),
    *("ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
)
_FLAGS = {
    b"ADD": ("chown", "chmod", "link", "checksum", "keep-git-dir", "exclude", "unpack"),
    b"COPY": ("from", "chown", "chmod", "link", "parents", "exclude"),
    b"FROM": ("platform",),
    b"HEALTHCHECK": ("interval", "timeout", "start-period", "start-interval", "retries"),
    b"RUN": ("mount", "network", "security", "device"),
}
_MOUNT_TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
_MOUNT_KEYS = (
    *("type", "source", "target", "from", "id", "readonly", "readwrite", "sharing", "required", "mode", "uid", "gid"),
    *("size", "env", "dst", "destination", "src", "ro", "rw"),
)
_SHARING = ("shared", "private", "locked")
_PLATFORM = "A platform is OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, such as linux/amd64 or linux/arm/v7."
_REPOSITORY = re.compile(r"\s(?:git@|git://|ssh://|https?://\S+\.git(?:[#\s]|$))")
_UNREACHED = re.compile(r"no such host|server misbehaving|connection refused|timeout|unreachable|resolve host", re.I)


def mistake(message: str, found: Instruction | None, dockerfile: bytes) -> str:
    """What to do about an error that an engine ended with at this instruction; "" if nothing is known."""
    if "(did you mean " in message:  # newer engines say so themselves
        return ""
    for pattern, advice in _ADVICE:
        if (match := pattern.search(message)) and (hint := advice(match, found, dockerfile)):
            return hint
    return ""


def _unknown_instruction(match: re.Match[str], found: Instruction | None, dockerfile: bytes) -> str:
    if meant := near(match[1], _KEYWORDS):
        return f"Did you mean {meant}?"
    if found is None or found.line == next(instructions(dockerfile)).line:
        return ""
    return "If the line belongs to the instruction above it, that line has to end with a backslash."


def _unknown_flag(match: re.Match[str], found: Instruction | None, _: bytes) -> str:
    known = _FLAGS.get(found.keyword, ()) if found else ()
    meant = near(match[1], known)
    if meant and meant != match[1]:
        return f"Did you mean --{meant}?"
    return f"{found.keyword.decode()} knows --{', --'.join(known)}." if found and known else ""


def _mount_key(match: re.Match[str], *_: object) -> str:
    meant = near(match[1], _MOUNT_KEYS)
    return f"Did you mean {meant}?" if meant and meant != match[1] else ""


def _mount_type(match: re.Match[str], *_: object) -> str:
    meant = near(match[1], _MOUNT_TYPES)
    return f"Did you mean {meant}? " * bool(meant) + f"The types of mounts are {', '.join(_MOUNT_TYPES)}."


def _blank(_: re.Match[str], found: Instruction | None, dockerfile: bytes) -> str:
    if found is None:
        return ""
    if found.keyword != b"FROM" and any("$" in name for name in images_in(found)):
        return _alias(_, found, dockerfile)
    return unset(found, dockerfile)


def _stage(match: re.Match[str], found: Instruction | None, dockerfile: bytes) -> str:
    """An image that cannot be fetched and was meant to be a stage, or has its name from a variable."""
    if found is None:
        return ""
    image = match[1].removeprefix("docker.io/").removeprefix("library/").removesuffix(":latest")
    before = [name for one in instructions(dockerfile) if one.line < found.line for name in stage_names(one.text)]
    if found.keyword == b"FROM":
        meant = near(image, before) if "/" not in image and ":" not in image else ""
        return f"If it is meant to be a stage of this Dockerfile: did you mean {meant}?" if meant else ""
    if image not in images_in(found):
        return ""
    if image.lower() in (name.lower() for name in stage_names(dockerfile)):
        return f"The stage {image} has to stand above this line, and cannot be the one that it is in."
    if "/" in image or ":" in image:
        return ""
    meant = near(image, before)
    known = f"The stages above are {', '.join(before)}." if before else "No stage above has a name: `FROM … AS NAME`."
    return (
        f"No stage is called {image}, so it is taken for an image. "
        + (f"Did you mean {meant}? " if meant else "")
        + known
    )


def _in_stage(_: re.Match[str], found: Instruction | None, dockerfile: bytes) -> str:
    """A file that COPY takes of another stage, or of an image."""
    stages = {name.lower(): name for name in stage_names(dockerfile)}
    named = images_in(found) if found and found.keyword != b"FROM" else []
    taken = [stages[name.lower()] for name in named if name.lower() in stages] or [n for n in named if n.isdigit()]
    if taken:
        return f"That is looked for in the stage {taken[0]}, and no step of it has made it there."
    return f"That is looked for in the image {named[0]}, which has no such file." if named else ""


def _later(*_: object) -> str:
    return "Move that stage above this one."


def _alias(_: re.Match[str], found: Instruction | None, __: bytes) -> str:
    name = next(iter(images_in(found)), "${NAME}") if found else "${NAME}"
    return (
        f"Write `FROM {name} AS source` as a stage above, with its ARG before the first FROM, and take from `source`."
    )


def _fetched(match: re.Match[str], found: Instruction | None, __: bytes) -> str:
    """A file of the network."""
    if found is None or found.keyword != b"ADD" or "://" not in found.shown:
        return ""
    if "digest mismatch" in match[0]:
        return "What lies there is not what it was: look at it, and if it is right, write its new --checksum."
    if re.search(r"\b40[134]\b|not found|Not Found", match[0]):
        return "Look whether it is still there; what needs a login is fetched by RUN with a secret instead."
    if _UNREACHED.search(match[0]):
        return "The build engine cannot reach that server: check the name, and the network of the engine's machine."
    return ""


def _git(match: re.Match[str], found: Instruction | None, _: bytes) -> str:
    """A repository of the network."""
    if found is None or found.keyword != b"ADD" or not _REPOSITORY.search(found.shown):
        return ""
    if "ssh" in match[0].lower() or re.search(r"\s\w+@", found.shown):
        return "For a repository by ssh, lumper.toml has to ask for keys: [build] ssh = true."
    if _UNREACHED.search(match[0]):
        return "The build engine cannot reach that server: check the name, and the network of the engine's machine."
    return "Check the address and the branch, tag or commit behind `#`; a private one needs ssh or a secret."


def _say(text: str) -> Callable[..., str]:
    return lambda *_: text


_ADVICE: tuple[tuple[re.Pattern[str], Callable[..., str]], ...] = (
    (re.compile(r"unknown instruction: \"?([^\s\".]+)", re.I), _unknown_instruction),
    (re.compile(r"unknown flag: (?:--)?([\w-]+)", re.I), _unknown_flag),
    (re.compile(r"unexpected key '([^']+)'"), _mount_key),
    (re.compile(r"unsupported mount type \"([^\"]*)\""), _mount_type),
    (re.compile(r"invalid mount type \"([^\"]*)\""), _mount_type),
    (re.compile(r"unsupported sharing value"), _say(f"sharing is one of {', '.join(_SHARING)}.")),
    (
        re.compile(r"invalid mount target|one of source, target required"),
        _say("Write target=/PATH into the mount, or a WORKDIR above it."),
    ),
    (re.compile(r"should not be blank|invalid reference format|failed to parse stage name"), _blank),
    (re.compile(r"must be lowercase|repository name .*lower"), _say("Names of images are written in lower case.")),
    (re.compile(r"needs? to be defined before"), _later),
    (re.compile(r"doesn't support variable expansion"), _alias),
    (re.compile(r"circular dependency"), _say("A stage cannot be built from itself, nor by way of others.")),
    (re.compile(r"invalid stage index"), _say("Stages are counted from 0, and only those above can be named.")),
    (re.compile(r"image (\S+) cannot be fetched"), _stage),
    (
        re.compile(r"platform.*(?:unknown operating system|invalid argument|invalid component|cannot)", re.S),
        _say(_PLATFORM),
    ),
    (re.compile(r"not found|no such file"), _in_stage),
    (re.compile(r".*", re.S), _git),
    (
        re.compile(
            r"(?:failed to load cache key|digest mismatch|invalid (?:not )?response status|: 40\d|no such host"
            r"|connection refused|server misbehaving|i/o timeout|unreachable|not found).*",
            re.S,
        ),
        _fetched,
    ),
    (
        re.compile(r"unable to find user (\S+?):? "),
        lambda match, *_: f"The image has no user {match[1]}: add one by RUN before, or write a number.",
    ),
    (re.compile(r"unterminated heredoc"), _say("The word behind `<<` has to stand alone in a line below.")),
)
