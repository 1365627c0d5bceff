"""The host that a request asks. Source: RFC 9112, sections 3.2 and 3.3."""

from __future__ import annotations

import re

from yarl import URL

_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{0,255})(?::[0-9]{0,5})?")


def is_host(text: str) -> bool:
    """Whether this can be the value of a Host header: a name, which may be empty, or an address, perhaps with a port.

    RFC 3986, section 3.2.2, lets a name have more characters; no resolver knows such a one, and in the address of a
    token realm they would do harm.
    """
    return _HOST.fullmatch(text) is not None


def host_in(target: URL) -> str | None:
    """The host, with its port, in a request's target that is a whole URL; None if it is not one that a server has.

    It counts instead of the Host header: RFC 9112, section 3.2.2.
    """
    if target.scheme not in ("http", "https") or target.user is not None or target.password is not None:
        return None
    host = target.host_port_subcomponent
    return host if host and is_host(host) else None
