"""Give each cache mount of a Dockerfile an id that leads nowhere else. Pure.

buildah 1.28 makes a path of an id, or of the target where there is none: `..` in it, or a link that a cache mount
around it holds, leads to the caches of other projects and to files of the machine. Of two ids the last one counts.
Source: containers/buildah, internal/parse/parse.go, GetCacheMount; CVE-2024-9675.
"""

from __future__ import annotations

import hashlib
import re

from lumper.build.context.dockerfile import directives, instructions
from lumper.errors import BuildRefused

_RUN = re.compile(rb"(RUN)((?:\s+--\S*)+)(.*)", re.IGNORECASE | re.DOTALL)
_PLAIN = re.compile(rb"""[!#-&(-\[\]-_a-~]*""")  # without quotes, backslashes and backticks
_FIELD = re.compile(rb"[a-z]+(?:=[^=]*.*)?", re.IGNORECASE | re.DOTALL)
_TARGETS = (b"target", b"dst", b"destination")
GIVEN = re.compile(r",id=lumper-[0-9a-f]{32}(?=[\s,]|$)")
"""What is added to a mount, as it stands in the name of its step."""


def with_own_ids(dockerfile: bytes, namespace: str) -> bytes:
    """The same instructions on the same lines, with ids that only builds of the namespace have.

    Every instruction is one line, so that buildah sees what was looked at here. Raises BuildRefused for options of RUN
    that cannot be told before buildah replaces their variables.
    """
    if b"--" not in dockerfile:
        return dockerfile
    lines = dockerfile.split(b"\n")
    kept = lines[: directives(dockerfile)] + [b""] * (len(lines) - directives(dockerfile))
    found = list(instructions(dockerfile))
    known = {one.line for one in found}
    for one in instructions(dockerfile, heredocs=False):
        if one.line in known:
            kept[one.last - 1] = _rewritten(one.text, one.line, namespace)
        elif _RUN.match(one.text):
            raise BuildRefused(
                f"Line {one.line} of the Dockerfile is a RUN with options within a here-document.",
                hint="buildah may take it for an instruction: indent it, or write it without options.",
            )
    for one, following in zip(found, [*(each.line for each in found[1:]), len(lines) + 1], strict=True):
        if b"<<" in one.text:
            kept[one.last : following - 1] = lines[one.last : following - 1]
    return b"\n".join(kept)


def _rewritten(text: bytes, line: int, namespace: str) -> bytes:
    words = text.split(None, 1)
    if words[0].upper() == b"ONBUILD" and len(words) > 1:
        return b"ONBUILD " + _rewritten(words[1], line, namespace)
    match = _RUN.fullmatch(text)
    if match is None:
        return text
    return match[1] + b" " + b" ".join(_option(word, line, namespace) for word in match[2].split()) + match[3]


def _option(word: bytes, line: int, namespace: str) -> bytes:
    fields = word.removeprefix(b"--mount=").split(b",")
    values = dict(field.partition(b"=")[::2] for field in fields)
    is_cache = word.startswith(b"--mount=") and values.get(b"type") == b"cache"
    hidden = b"$" in word and not (is_cache and all(map(_FIELD.fullmatch, fields)))
    if hidden or not _PLAIN.fullmatch(word):
        raise BuildRefused(
            f"Line {line} of the Dockerfile hides an option of RUN: {word.decode('utf-8', 'replace')[:200]}.",
            hint="Write it without quotes, backslashes and variables; in a cache mount, values may have variables.",
        )
    if not is_cache:
        return word
    target = next((values[name] for name in _TARGETS if name in values), b"")
    name = hashlib.sha256(b"\0".join((namespace.encode(), values.get(b"id") or target))).hexdigest()[:32]
    return word + b",id=lumper-" + name.encode()
