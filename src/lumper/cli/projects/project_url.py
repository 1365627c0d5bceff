"""`lumper project url`: where a project's repository is, and how to get in."""

from __future__ import annotations

from pathlib import Path

from lumper.cli.client import Target, connect
from lumper.cli.line_file import line_of
from lumper.cli.output import Json, tell

_HERE = Target()


def url_(
    name: str,
    url: str = "",
    /,
    *,
    username: str = "",
    password_file: Path | None = None,
    allow_local: bool = False,
    json: Json = False,
    target: Target = _HERE,
) -> None:
    """Let a project's repository be at another URL, or give other credentials for it.

    Without new credentials those of now stay, as long as the server is the same.

    Example: lumper project url owner/app --username robot --password-file token.txt

    Parameters
    ----------
    name
        The project's name, which stays.
    url
        The git URL, as for `lumper project add`; without it, that of now.
    username
        The user name for http(s); many forges take any with a token.
    password_file
        The file with the password or token.
    allow_local
        Allow a path on this machine that is not in [git] allow_local.
    """
    password = line_of(password_file, "password") if password_file else ""
    body = {"url": url, "username": username, "password": password, "allow_local": allow_local}
    with connect(target) as client:
        changed = client.put(f"projects/{name}/url", body)
    given = " with the new credentials" if username or password else ""
    tell(changed, f"{changed['name']} is built from {changed['url']}{given}.", json=json)
