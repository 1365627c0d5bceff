"""Who is told. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lumper.model.source import Person

_ADDRESS = re.compile(
    r"(?P<local>[A-Za-z0-9!#$%&'*+/=?^_`{|}~][A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{0,63})"
    r"@(?P<domain>[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*)"
)
_NOBODY = re.compile(r"(?:no|not|donot|do-not)[-_.]?reply(?:\+.*)?", re.IGNORECASE)


def is_address(text: str) -> bool:
    """Whether `text` is one plain address (the dot-atom of RFC 5321, section 4.1.2) and nothing besides it."""
    return len(text) <= 254 and _ADDRESS.fullmatch(text) is not None


def reaches_somebody(text: str) -> bool:
    """Whether `text` is an address that is read: forges give people others, such as `…@users.noreply.github.com`."""
    match = _ADDRESS.fullmatch(text)
    if match is None or not is_address(text):
        return False
    return not _NOBODY.fullmatch(match["local"]) and not any(map(_NOBODY.fullmatch, match["domain"].split(".")))


def recipients(*, pusher: Person, author: Person, people: Mapping[str, str], admin: str) -> tuple[str, ...]:
    """The pusher by the mail map, else the commit's author, else the admin; nobody if none has an address.

    `people` is the mail map: from a login at the forge, or an address, in any case, to an address.
    """
    mapped = {name.strip().lower(): address.strip() for name, address in people.items() if name.strip()}
    found = (
        mapped.get(pusher.name.strip().lower(), ""),
        mapped.get(pusher.email.strip().lower(), ""),
        mapped.get(author.email.strip().lower(), ""),
        author.email.strip(" "),
    )
    first = next((address for address in found if reaches_somebody(address)), admin.strip())
    return (first,) if is_address(first) else ()
