"""Carries out what rules say is kept, in memory that does not grow with the number of tags.

A repository is read twice, page by page, its tags by digest: first to find where the newest and the highest begin, then
to judge image after image (verdicts.py). What nothing speaks for loses its tags; its manifest goes when the time to
undo that is over. Tags are judged by what was read; the transaction that removes one looks again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from lumper.model.globs import fits
from lumper.model.images.image import TagState, beside, tags_beside
from lumper.model.images.rules import Rule, Rules
from lumper.registry.port import Metadata
from lumper.registry.retention.pulls import Pulls
from lumper.registry.retention.verdicts import Judge, Marks, Survey, Verdict

_NAMES = 1000  # repositories that are read together
_PAGE = 500  # tags that are read together
_STEP = 100  # tags that one transaction removes: pushes wait for it


@dataclass
class Preview:
    """What retention would do in one repository: how many tags it judges, and at most `most` verdicts to show."""

    most: int
    judged: int = 0
    going: int = 0
    _some: dict[bool, list[Verdict]] = field(default_factory=lambda: {False: [], True: []})

    def add(self, verdict: Verdict) -> None:
        """One more verdict."""
        self.judged += 1
        self.going += not verdict.kept
        if len(self._some[verdict.kept]) < self.most:
            self._some[verdict.kept].append(verdict)

    @property
    def shown(self) -> list[Verdict]:
        """Those of tags that go come first."""
        return [*self._some[False], *self._some[True]][: self.most]


class Retention:
    """Repository by repository, page by page."""

    def __init__(self, metadata: Metadata, pulls: Pulls, *, page: int = _PAGE) -> None:
        self._metadata = metadata
        self._pulls = pulls
        self._page = page

    async def run(self, repositories: str = "**", *, dry_run: bool = False) -> AsyncIterator[Verdict]:
        """Judge all tags for which a rule says what is kept, of the repositories that fit this glob, image by image.

        A verdict that a tag goes comes after it has gone. A tag that was moved meanwhile has none.
        """
        await self._pulls.flush()
        last = ""
        while names := await self._metadata.repositories(last=last, limit=_NAMES):
            last = names[-1]
            rules = await self._metadata.rules()
            for name in names:
                if fits(repositories, name):
                    async for verdict in self._repository(name, rules, dry_run=dry_run):
                        yield verdict

    async def preview(self, repository: str, most: int) -> Preview:
        """What `run` would do in one repository, with so many verdicts; of none if no rule says what is kept."""
        await self._pulls.flush()
        found = Preview(most)
        async for verdict in self._repository(repository, await self._metadata.rules(), dry_run=True):
            found.add(verdict)
        return found

    async def _repository(self, name: str, rules: Rules, *, dry_run: bool) -> AsyncIterator[Verdict]:
        rule = rules.keeping(name)
        if rule is None:
            return
        judge, before = await self._judge(name, rule, rules.freezing(name)), ""
        known: dict[str, str] = {}  # the reason of the image `before`: each is read once, however many pages it has
        async for page in self._pages(name, pulls=judge.pulls):
            asked = {subject for tag in page if (subject := beside(tag.name))} - {before, page[-1].digest}
            here = judge.reasons(page)
            reasons = here | known | await self._reasons(judge, sorted(asked))
            if page[-1].digest != before:  # the next pages may have tags of it
                reasons |= await self._reasons(judge, [page[-1].digest])
            tags = [tag for tag in page if reasons.get(beside(tag.name)) != ""]  # the others come with their image
            tags += await self._beside(name, [one for one in here if one != before and not reasons[one]])
            verdicts, before = judge.verdicts(tags, reasons), page[-1].digest
            known = {before: reasons[before]} if before in reasons else {}
            going = {verdict.tag for verdict in verdicts if not verdict.kept}
            if going and not dry_run:
                gone = await self._remove(name, [tag for tag in tags if tag.name in going], rule)
                verdicts = [verdict for verdict in verdicts if verdict.kept or verdict.tag in gone]
            for verdict in verdicts:
                yield verdict

    async def _judge(self, name: str, rule: Rule, freezing: Rule | None) -> Judge:
        needed, now = await self._metadata.in_use(), datetime.now(UTC)
        if rule.keep is not None and (survey := Survey(rule.keep)).needed:
            async for page in self._pages(name):
                survey.add(page)
            marks = survey.marks()
        else:
            marks = Marks()
        return Judge(name, rule, marks, freezing, needed, now)

    async def _reasons(self, judge: Judge, digests: Sequence[str]) -> dict[str, str]:
        """Why these images stay, by all their tags; without those that have none."""
        found: dict[str, str] = {}
        if not digests:
            return found
        async for page in self._pages(judge.repository, digests, pulls=judge.pulls):
            for digest, why in judge.reasons(page).items():
                found[digest] = found.get(digest) or why
        return found

    async def _beside(self, repository: str, digests: Sequence[str]) -> list[TagState]:
        """The tags that say something of these images."""
        names = [name for digest in digests for name in tags_beside(digest)]
        found: list[TagState] = []
        for start in range(0, len(names), _PAGE):
            found += await self._metadata.states_of(repository, names[start : start + _PAGE])
        return found

    async def _pages(
        self, repository: str, among: Sequence[str] | None = None, *, pulls: bool = False
    ) -> AsyncIterator[list[TagState]]:
        """All tags by digest and name, or those of the digests `among`; a page is read when it is asked for."""
        after = "", ""
        while page := await self._metadata.tag_states(
            repository, after=after, among=among, pulls=pulls, limit=self._page
        ):
            yield page
            after = page[-1].digest, page[-1].name
            if len(page) < self._page:
                return

    async def _remove(self, repository: str, states: Sequence[TagState], rule: Rule) -> set[str]:
        gone: set[str] = set()
        why = f"the rule for {rule.repositories}"
        for start in range(0, len(states), _STEP):
            gone.update(await self._metadata.retire(repository, states[start : start + _STEP], why))
        return gone
