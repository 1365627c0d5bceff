"""`lumper registry rules`: immutable tags, retention and quotas, changed while the registry runs."""

from __future__ import annotations

import re
import time
from typing import Annotated, Any

from cyclopts import App, Parameter

from lumper.cli.client import Target, connect
from lumper.cli.output import Json, show_json, size, table, tell
from lumper.cli.registry.retention import Told
from lumper.errors import Invalid

app = App(name="rules", help="Immutable tags, retention and quotas.")

_HERE = Target()
_COUNTING = 5.0  # seconds
_SHOWN = 5  # repositories
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
Globs = Annotated[tuple[str, ...], Parameter(negative=(), consume_multiple=True)]


@app.command(name="list")
def list_(*, json: Json = False, target: Target = _HERE) -> None:
    """List all rules, the most specific first.

    Example: lumper registry rules list
    """
    with connect(target) as client:
        found = client.get("registry/rules")
    if json:
        show_json(found)
        return
    rows = [(r["repositories"], _immutable(r), _keep(r["keep"]), size(r["quota"]) if r["quota"] else "") for r in found]
    table(("repositories", "immutable tags", "kept", "quota"), rows, empty="No rules: every tag may move, all is kept.")


@app.command(name="set")
def set_(
    repositories: str,
    /,
    *,
    immutable: Globs = (),
    mutable: Globs = (),
    last: int = 0,
    pushed_days: float = 0,
    pulled_days: float = 0,
    minors: int = 0,
    patches: int = 0,
    always: Globs = (),
    quota: str = "",
    json: Json = False,
    target: Target = _HERE,
) -> None:
    """Make a rule for repositories; it takes the place of the one for the same glob, and holds at once.

    Example: lumper registry rules set 'team/*' --last 20 --always latest --quota 50GiB

    Parameters
    ----------
    repositories
        A glob, such as team/* for every repository in team.
    immutable
        Globs of tags that, once set, neither move nor go.
    mutable
        Globs of tags that move all the same.
    last
        Keep the newest images, so many.
    pushed_days
        Keep what was pushed within so many days.
    pulled_days
        Keep what was pulled within so many days.
    minors
        Keep the highest minor lines of versions, so many.
    patches
        Keep the highest versions of each line, so many.
    always
        Globs of tags that are kept in any case.
    quota
        The most bytes that the repositories may hold together, such as 50GiB.
    """
    keep: dict[str, Any] = {"last": last, "pushed_days": pushed_days, "pulled_days": pulled_days}
    keep |= {"minors": minors, "patches": patches, "always": always}
    body = {"immutable": immutable, "mutable": mutable, "quota": _bytes(quota)}
    with connect(target) as client:
        before = next((one for one in client.get("registry/rules") if one["repositories"] == repositories), None)
        made = client.put(f"registry/rules/{repositories}", {**body, "keep": keep if any(keep.values()) else None})
        if json:
            show_json(made)
            return
        print(f"The rule for {made['repositories']} holds.")
        if gone := _given_up(before, made):
            print(f"No longer: {gone}, which was in the rule before. To keep that, set all of it in one command.")
        if made["keep"]:
            _foretell(Told(client.lines("registry/retention", repositories=repositories)), repositories)


@app.command
def remove(repositories: str, /, *, json: Json = False, target: Target = _HERE) -> None:
    """Remove a rule.

    Example: lumper registry rules remove 'team/*'

    Parameters
    ----------
    repositories
        The rule's glob.
    """
    with connect(target) as client:
        gone = client.delete(f"registry/rules/{repositories}")
    tell(gone, f"There is no rule for {gone['repositories']} any more.", json=json)


def _foretell(told: Told, repositories: str) -> None:
    """Say how much goes by the rule, as far as can be counted in a few seconds, before the server removes it."""
    until, counts = time.monotonic() + _COUNTING, dict[str, list[int]]()
    for tag in told:
        counts.setdefault(tag["repository"], [0, 0])[tag["kept"]] += 1
        if time.monotonic() > until:
            break
    going, staying = (sum(count[kept] for count in counts.values()) for kept in (0, 1))
    least = "" if told.done else "at least "
    print(f"By it the next retention removes {least}{going} of {going + staying} tags.")
    if told.done and (emptied := sorted(name for name, count in counts.items() if count[0] and not count[1])):
        more = f" and {len(emptied) - _SHOWN} more" if len(emptied) > _SHOWN else ""
        print(f"Nothing is left in {', '.join(emptied[:_SHOWN])}{more}.")
    if going:
        print(f"Which, and why: lumper registry retention --dry-run --repository '{repositories}'")


def _bytes(text: str) -> int:
    if not text:
        return 0
    found = re.fullmatch(r"([0-9]{1,18})\s*(?:([KMGT])i?)?B?", text, re.IGNORECASE)
    if not found:
        raise Invalid(f"{text!r} is no size.", hint="Write a number of bytes, or one with KiB, MiB, GiB or TiB.")
    return int(found[1]) * _UNITS[(found[2] or "").upper()]


def _given_up(before: dict[str, Any] | None, made: dict[str, Any]) -> str:
    """What the rule said before that took the place of none: nobody who adds a quota means to let tags move."""
    if before is None:
        return ""
    words = {"immutable": f"immutable {_immutable(before)}", "keep": _keep(before["keep"])}
    words["quota"] = f"at most {size(before['quota'])}"
    return "; ".join(said for part, said in words.items() if before[part] and not made[part])


def _immutable(rule: dict[str, Any]) -> str:
    return ", ".join(rule["immutable"]) + (f" but {', '.join(rule['mutable'])}" if rule["mutable"] else "")


def _keep(keep: dict[str, Any] | None) -> str:
    said = {name.replace("_", " "): value for name, value in (keep or {}).items() if value}
    return ", ".join(f"{name} {' '.join(value) if isinstance(value, list) else value}" for name, value in said.items())
