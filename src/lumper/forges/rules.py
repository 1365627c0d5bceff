"""What becomes of a delivery by a project's rules; by the default ones a pushed tag builds, nothing else. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lumper.errors import HookMalformed, SourceRefused
from lumper.forges.payload import shown
from lumper.forges.port import Forge, Parsed, Request
from lumper.model.images.image import moved_tags
from lumper.model.source import Project, Push, Verdict, is_commit, is_safe_ref, parse_git_url
from lumper.model.trigger import BuildRules


@dataclass(frozen=True)
class Judgement:
    """The verdict on one push, with the reason as a sentence for people."""

    push: Push
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Decision:
    """The verdict on a whole delivery: BUILD if any of its pushes builds."""

    verdict: Verdict
    reason: str
    judgements: tuple[Judgement, ...] = ()

    @property
    def builds(self) -> tuple[Push, ...]:
        """The pushes that are to be built."""
        return tuple(judgement.push for judgement in self.judgements if judgement.verdict is Verdict.BUILD)


@dataclass(frozen=True)
class Explanation:
    """What a delivery would do. `pushes` are only those that would be built."""

    verdict: Verdict
    reason: str
    pushes: tuple[Push, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """The explanation as `lumper hooks explain` prints it."""
        pushes = [{"repository": push.repository, "ref": push.ref, "commit": push.commit} for push in self.pushes]
        return {"verdict": self.verdict.value, "reason": self.reason, "pushes": pushes}


def explain_delivery(forge: Forge, request: Request) -> Explanation:
    """What the request would do, its signature aside."""
    try:
        return explain(forge.parse(request))
    except HookMalformed as exc:
        return Explanation(Verdict.REFUSED, exc.sentence)


def explain(parsed: Parsed) -> Explanation:
    """What the delivery would do for a project that it belongs to."""
    decision = _decide(parsed, BuildRules())
    return Explanation(decision.verdict, decision.reason, decision.builds)


def decide(parsed: Parsed, project: Project) -> Decision:
    """The verdicts on a delivery that was signed with the secret of `project`, which binds it to that repository."""
    if not candidates(parsed, [project]) or any(push.repository != parsed.repository for push in parsed.pushes):
        reason = f"The delivery is signed by {project.name} but tells of {shown(parsed.repository)}."
        return Decision(Verdict.REFUSED, reason)
    return _decide(parsed, project.rules)


def _decide(parsed: Parsed, rules: BuildRules) -> Decision:
    if not parsed.pushes:
        return Decision(Verdict.IGNORED, parsed.ignored or f"The event {shown(parsed.event)} moves no ref.")
    distinct = {(push.ref, push.commit, push.deleted): push for push in parsed.pushes}
    judgements = tuple(judge(push, rules) for push in distinct.values())
    verdicts = {judgement.verdict for judgement in judgements}
    verdict = next(v for v in (Verdict.BUILD, Verdict.REFUSED, Verdict.IGNORED) if v in verdicts)
    reasons = [judgement.reason for judgement in judgements if judgement.verdict is verdict]
    return Decision(verdict, " ".join(reasons), judgements)


def judge(push: Push, rules: BuildRules) -> Judgement:
    """The verdict on one push."""
    verdict, reason = _verdict_on(push, rules)
    return Judgement(push, verdict, reason)


def _verdict_on(push: Push, rules: BuildRules) -> tuple[Verdict, str]:
    name = shown(push.ref)
    if push.deleted or set(push.commit) == {"0"}:
        return Verdict.IGNORED, f"{name} was deleted; a deletion never builds."
    if push.branch and not rules.builds(push.ref):
        only = "only tags are built" if not rules.branches else "the project's rules do not build it"
        return Verdict.IGNORED, f"The branch {shown(push.branch)} moved; {only}."
    if not is_safe_ref(push.ref):
        return Verdict.REFUSED, f"{name} is not a ref name that Lumper hands to git; rename it."
    if not is_commit(push.commit):
        return Verdict.REFUSED, f"{shown(push.commit)} is not a commit id."
    if not push.tag and not push.branch:
        return Verdict.IGNORED, f"{name} is neither a tag nor a branch."
    if not rules.builds(push.ref):
        return Verdict.IGNORED, f"The project's rules do not build the tag {shown(push.tag)}."
    return _image_of(push)


def _image_of(push: Push) -> tuple[Verdict, str]:
    kind, ref = ("tag", push.tag) if push.tag else ("branch", push.branch)
    tags = moved_tags(push.ref, ())
    if not tags:
        words = "gives no legal image tag; use letters, digits, dots, dashes, at most 128."
        return Verdict.IGNORED, f"{shown(push.ref)} {words}"
    return Verdict.BUILD, f"The {kind} {shown(ref)} was pushed, for the image tags {', '.join(tags)}."


def candidates(parsed: Parsed, projects: Sequence[Project]) -> list[Project]:
    """The projects that a delivery may belong to; which one it is, if any, its signature decides.

    Names count as a whole and in any case: `alice/app` is not `bob/app`. A forge below a path of its host
    (`https://example.org/git/alice/app`) is known by the URL in the delivery; those that the delivery's URLs name come
    first. The path of a local repository does not tell who owns it at the forge: where no other project has the name,
    its last part is enough.
    """
    if not parsed.repository:  # such as a ping of a whole organization: it can be anybody's, and pushes nothing
        return list(projects)
    urls = {address for url in parsed.urls if (address := _address(url))}
    by_url = [project for project in projects if _address(project.url) in urls and _ends_in(project, parsed.repository)]
    by_name = [project for project in projects if _same_name(project, parsed.repository) and project not in by_url]
    last = parsed.repository.rsplit("/", 1)[-1]
    return by_url + by_name or [project for project in projects if _unnamed(project) and _ends_in(project, last)]


def _ends_in(project: Project, repository: str) -> bool:
    wanted = repository.lower().split("/")
    return project.repository.lower().split("/")[-len(wanted) :] == wanted


def _same_name(project: Project, repository: str) -> bool:
    """Whether this is the name; Bitbucket Server puts `scm/` before it in its clone URLs."""
    wanted, name = repository.lower(), project.repository.lower()
    if name == wanted or (wanted.count("/") == 1 and f"/{name}".endswith(f"/scm/{wanted}")):
        return True
    return _unnamed(project) and _ends_in(project, repository)


def _unnamed(project: Project) -> bool:
    """Whether all that is known of the repository's name is its path on this machine."""
    return project.local and project.url.strip("/").removesuffix(".git") == project.repository


def _address(url: str) -> tuple[str, str] | None:
    """Host and path of a URL that is not local, to be compared."""
    try:
        git_url = parse_git_url(url)
    except SourceRefused:
        return None
    return None if git_url.local else (git_url.host, git_url.path.lower())
