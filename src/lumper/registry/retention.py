"""Which images a rule keeps, and why: a pure decision, and the run that carries it out.

The decision is by image: if one of its tags is kept, so are all. What nothing speaks for loses its tags; its manifest
goes when the time to undo that is over. Tags are judged by what was read; the transaction that removes one looks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lumper.model.globs import fits
from lumper.model.image import TagState, beside, version_key
from lumper.model.rules import Keep, Rule, Rules, keep_words
from lumper.registry.port import Metadata
from lumper.registry.pulls import Pulls

_PAGE = 1000  # tags that are read together
_STEP = 100  # tags that one transaction removes: pushes wait for it
_QUICKLY_JUDGED = 2000  # tags; more are judged in a thread


@dataclass(frozen=True)
class Verdict:
    """Whether a tag stays, and why."""

    repository: str
    tag: str
    digest: str
    kept: bool
    why: str


def decide(
    repository: str,
    tags: Sequence[TagState],
    rule: Rule,
    *,
    freezing: Rule | None = None,
    needed: Mapping[str, str],
    now: datetime,
) -> list[Verdict]:
    """A verdict for every tag of a repository.

    `freezing` is the rule that makes tags immutable, `needed` are the digests that stay in any case, with the reason.
    Tags such as `sha256-<hex>.sig`, which say something of another image, go with that image and count nowhere.
    """
    keep = rule.keep or Keep(last=len(tags))
    images = [tag for tag in tags if not beside(tag.name)]
    reasons = _reasons(images, keep, freezing, needed, now)
    lost = f"the rule for {rule.repositories} keeps {'; '.join(keep_words(keep))}"
    gone = {tag.digest for tag in images if tag.digest not in reasons}
    return [_verdict(repository, tag, reasons, gone, lost) for tag in tags]


def _verdict(repository: str, tag: TagState, reasons: Mapping[str, str], gone: set[str], lost: str) -> Verdict:
    if subject := beside(tag.name):
        why = "the image that it belongs to goes" if subject in gone else "the image that it belongs to does not go"
        return Verdict(repository, tag.name, tag.digest, subject not in gone, why)
    why = reasons.get(tag.digest, "")
    return Verdict(repository, tag.name, tag.digest, bool(why), why or lost)


def _reasons(
    tags: Sequence[TagState], keep: Keep, freezing: Rule | None, needed: Mapping[str, str], now: datetime
) -> dict[str, str]:
    """Why each digest stays, of those that do; the first reason counts."""
    reasons = {tag.digest: needed[tag.digest] for tag in tags if tag.digest in needed}
    newest = _newest(tags)
    last = set(sorted(newest, key=lambda digest: (newest[digest], digest), reverse=True)[: keep.last])
    versions = _kept_versions(tags, keep)
    pushed, pulled = now - timedelta(days=keep.pushed_days), now - timedelta(days=keep.pulled_days)
    for tag in tags:
        if freezing and freezing.freezes(tag.name):
            why = f"{tag.name} is immutable by the rule for {freezing.repositories}"
        elif glob := next((glob for glob in keep.always if fits(glob, tag.name)), ""):
            why = f"{tag.name} fits {glob}, which is always kept"
        elif tag.digest in last:
            why = f"it is one of the last {keep.last}"
        elif keep.pushed_days and tag.updated_at > pushed:
            why = f"it was pushed within {keep.pushed_days:g} days"
        elif keep.pulled_days and tag.pulled_at and tag.pulled_at > pulled:
            why = f"it was pulled within {keep.pulled_days:g} days"
        elif version_key(tag.name) in versions:
            why = f"{tag.name} is one of the highest versions"
        else:
            continue
        reasons.setdefault(tag.digest, why)
    return reasons


def _newest(tags: Sequence[TagState]) -> dict[str, datetime]:
    newest: dict[str, datetime] = {}
    for tag in tags:
        newest[tag.digest] = max(tag.updated_at, newest.get(tag.digest, tag.updated_at))
    return newest


def _kept_versions(tags: Sequence[TagState], keep: Keep) -> set[tuple[int, int, int] | None]:
    """The highest patches of the highest minor lines. Pre-releases and floating tags (1.2, latest) are no versions."""
    if not (keep.minors or keep.patches):
        return set()
    lines: dict[tuple[int, int], set[tuple[int, int, int]]] = {}
    for tag in tags:
        if version := version_key(tag.name):
            lines.setdefault(version[:2], set()).add(version)
    highest = sorted(lines, reverse=True)[: keep.minors or None]
    return {version for line in highest for version in sorted(lines[line], reverse=True)[: keep.patches or None]}


class Retention:
    """Carries the rules out, repository by repository."""

    def __init__(self, metadata: Metadata, pulls: Pulls) -> None:
        self._metadata = metadata
        self._pulls = pulls

    async def run(self, repositories: str = "**", *, dry_run: bool = False) -> AsyncIterator[Verdict]:
        """Judge all tags for which a rule says what is kept, of the repositories that fit this glob.

        A verdict that a tag goes comes after it has gone. A tag that was moved meanwhile has none.
        """
        await self._pulls.flush()
        last = ""
        while names := await self._metadata.repositories(last=last, limit=_PAGE):
            last = names[-1]
            rules = await self._metadata.rules()
            for name in names:
                if fits(repositories, name) and rules.keeping(name):
                    for verdict in await self._repository(name, rules, dry_run=dry_run):
                        yield verdict

    async def preview(self, repository: str) -> list[Verdict]:
        """What `run` would do in one repository; nothing if no rule says what is kept."""
        await self._pulls.flush()
        return await self._repository(repository, await self._metadata.rules(), dry_run=True)

    async def _repository(self, name: str, rules: Rules, *, dry_run: bool) -> list[Verdict]:
        rule = rules.keeping(name)
        states = await self._states(name)
        if rule is None or not states:
            return []
        needed, now = await self._metadata.in_use(), datetime.now(UTC)

        def judge() -> list[Verdict]:
            return decide(name, states, rule, freezing=rules.freezing(name), needed=needed, now=now)

        verdicts = judge() if len(states) < _QUICKLY_JUDGED else await asyncio.to_thread(judge)
        if dry_run:
            return verdicts
        going = {verdict.tag for verdict in verdicts if not verdict.kept}
        gone = await self._remove(name, [state for state in states if state.name in going], rule)
        return [verdict for verdict in verdicts if verdict.kept or verdict.tag in gone]

    async def _states(self, repository: str) -> list[TagState]:
        found: list[TagState] = []
        while page := await self._metadata.tag_states(repository, last=found[-1].name if found else "", limit=_PAGE):
            found += page
        return found

    async def _remove(self, repository: str, states: Sequence[TagState], rule: Rule) -> set[str]:
        gone: set[str] = set()
        why = f"the rule for {rule.repositories}"
        for start in range(0, len(states), _STEP):
            gone.update(await self._metadata.retire(repository, states[start : start + _STEP], why))
        return gone
