"""From webhook to pullable tag: Lumper against the same work done by plain shell, in one run, alternating.

    sudo .venv/bin/python bench/line.py [--only small,large] [--rounds 5] [--concurrent 20] [--json FILE]

Both sides get the same repository from the same git server, build it on the same Docker Engine and push to the same
registry (Lumper's, with its rights and its durability). The shell is `git clone --depth 1` (or a fetch into the clone
that it has), a build by the Engine's API with BuildKit, a push by the Engine's API.

Cases: small; multi-stage; large, an image of 500 MB (`--data` random, text or mixed); history, a repository of 10,000
commits. Each of them
    cold     a repository that was never seen, and nothing of it in the cache;
    changed  the repository is known, and the file of the last layer has changed;
    warm     the repository is known, and nothing that is built has changed.
Besides, `overhead`: what Lumper takes for a warm build beyond its stages build and push; and with
`--concurrent N`, N builds at once against the same N builds and pushes by the engine alone.

Medians; the ratio is the median of each round's own, with the least and the most. A row begins no round after its share
of `--seconds`.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from repositories import Case, Repository, cases
from sides import Lumper, Run, Shell, warm_up

_ROWS = {
    "small": ("cold", "changed", "warm"),
    "multi-stage": ("cold", "changed", "warm"),
    "history": ("cold", "changed", "warm"),
    "large": ("cold", "changed", "warm"),
}
_GOALS = {"cold": 1.05, "changed": 1.0, "warm": 1.0}
_OVERHEAD = 0.150
_CONCURRENT = 1.1


@dataclass
class Row:
    """One line of the table, with all rounds. `goal` is for the ratio, or for the seconds where there is no peer."""

    name: str
    goal: float
    ours: list[Run] = field(default_factory=list)
    theirs: list[Run] = field(default_factory=list)
    overhead: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        return [a.seconds / b.seconds for a, b in zip(self.ours, self.theirs, strict=True)]

    @property
    def reached(self) -> float:
        return statistics.median(self.overhead or self.ratios)

    def text(self) -> str:
        ours, theirs = (statistics.median(run.seconds for run in runs) for runs in (self.ours, self.theirs))
        values = self.overhead or self.ratios
        unit = " s" if self.overhead else ""
        verdict = "yes" if self.reached <= self.goal else "NO"
        spread = f"{self.reached:.2f}{unit} ({min(values):.2f}-{max(values):.2f})"
        return (
            f"| {self.name:20} | {ours:7.3f} s | {theirs:7.3f} s | {spread:22} | {self.goal:.2f}{unit} {verdict:3} | "
            f"{_parts(self.ours)} | {_parts(self.theirs)} |"
        )

    def json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "goal": self.goal,
            "reached": self.reached,
            "lumper": [vars(run) for run in self.ours],
            "shell": [vars(run) for run in self.theirs],
            "overhead": self.overhead,
        }


def _parts(runs: list[Run]) -> str:
    names = list(dict.fromkeys(name for run in runs for name in run.parts))
    return ", ".join(f"{name} {statistics.median(run.parts.get(name, 0) for run in runs):.3f}" for name in names)


class Bench:
    """Both sides, and how long and how often they are compared."""

    def __init__(self, folder: Path, rounds: int, concurrency: int) -> None:
        self.folder = folder
        self.rounds = rounds
        self.lumper = Lumper(folder, concurrency)
        self.shell = Shell(folder, self.lumper)
        self._known: dict[str, str] = {}
        self._repositories: dict[str, Repository] = {}
        self._number = 0

    def repository(self, case: Case) -> Repository:
        """The repository of a case, which both sides have built once."""
        if case.name not in self._repositories:
            self._repositories[case.name] = Repository(case, self.folder, self.lumper.forge)
            self._known[case.name] = warm_up(self._repositories[case.name], self.lumper, self.shell)
        return self._repositories[case.name]

    def compare(self, case: Case, state: str, seconds: float) -> Row:
        """Both sides in turn."""
        row, begun = Row(f"{case.name}, {state}", _GOALS[state]), time.monotonic()
        repository = self.repository(case)
        while len(row.ours) < self.rounds and (not row.ours or time.monotonic() - begun < seconds):
            ours, theirs = self._tag(), self._tag()
            path = self._known[case.name] if state != "cold" else repository.named(f"{case.name}-{ours[1:]}")
            self.lumper.project(path)
            row.ours.append(self.lumper.run(path, ours, repository.commit(ours, state)))
            repository.commit(theirs, state)
            row.theirs.append(self.shell.run(path, theirs, clone=state == "cold"))
        return row

    def overhead(self, case: Case, seconds: float) -> Row:
        """What a warm build takes beyond its stages in the engine: webhook, queue, checkout, log, result."""
        row = self.compare(case, "warm", seconds)
        overhead = [ours.seconds - ours.parts["build"] - ours.parts["push"] for ours in row.ours]
        return Row(f"{case.name}, overhead", _OVERHEAD, row.ours, row.theirs, overhead)

    def together(self, case: Case, count: int, seconds: float) -> Row:
        """Builds at once, nothing of them in the cache, against the engine's builds and pushes alone."""
        row, begun = Row(f"{count} at once", _CONCURRENT), time.monotonic()
        repository = self.repository(case)
        while len(row.ours) < self.rounds and (not row.ours or time.monotonic() - begun < seconds):
            self.lumper.rest()
            row.ours.append(self._ours_together(repository, count))
            self.lumper.rest()
            row.theirs.append(self._theirs_together(repository, count))
        return row

    def _ours_together(self, repository: Repository, count: int) -> Run:
        path, tags = self._known[repository.case.name], [self._tag() for _ in range(count)]
        commits = [repository.commit(tag, "cold") for tag in tags]
        begun = time.monotonic()
        builds = [self.lumper.push(path, tag, commit) for tag, commit in zip(tags, commits, strict=True)]
        for tag, build in zip(tags, builds, strict=True):
            self.lumper.await_end(build)
            self.lumper.pullable(f"/v2/{path}/manifests/{tag.removeprefix('v')}")
        return Run(time.monotonic() - begun)

    def _theirs_together(self, repository: Repository, count: int) -> Run:
        path, tags, folders = self._known[repository.case.name], [self._tag() for _ in range(count)], []
        for tag in tags:
            repository.commit(tag, "cold")
            folders.append(repository.export(self.folder / f"export-{tag}"))
        begun = time.monotonic()
        running = [self.shell.begin(path, tag, work=folder) for tag, folder in zip(tags, folders, strict=True)]
        for process in running:
            self.shell.end(process)
        seconds = time.monotonic() - begun
        for tag in tags:
            self.shell.forget(path, tag)
        return Run(seconds)

    def _tag(self) -> str:
        self._number += 1
        return f"v1.{self._number}.0"


def main() -> None:
    """Run it."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ",".join([*_ROWS, "overhead"])
    arguments.add_argument("--only", default=names, help=f"cases, with commas: {names}")
    arguments.add_argument("--state", default="cold,changed,warm", help="states, with commas")
    arguments.add_argument("--rounds", type=int, default=5, help="pairs of each row, at most")
    arguments.add_argument("--seconds", type=float, default=300, help="for all rows together, about")
    arguments.add_argument("--concurrent", type=int, default=0, metavar="N", help="also N builds at once")
    arguments.add_argument("--data", choices=("random", "text", "mixed"), default="mixed", help="in the large image")
    arguments.add_argument("--size", type=int, default=500, help="MB of the large image")
    arguments.add_argument("--json", type=Path, metavar="FILE", help="write all rounds there")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started ends too
    run(arguments.parse_args())


def run(options: argparse.Namespace) -> None:
    """Measure and print what was asked for."""
    known, wanted = cases(options.data, options.size), options.only.split(",")
    states = options.state.split(",")
    plan = [(name, state) for name in wanted for state in _ROWS.get(name, ()) if state in states]
    share = options.seconds / max(1, len(plan) + ("overhead" in wanted) + bool(options.concurrent))
    with tempfile.TemporaryDirectory(prefix="lumper-bench-") as name:
        bench = Bench(Path(name), options.rounds, max(2, options.concurrent))
        try:
            rows = []
            print(f"start of `lumper up` to the first answer, an empty data folder: {bench.lumper.start:.2f} s")
            print(
                "| row | Lumper | shell | ratio | goal | stages of Lumper, s | of the engine, s |\n"
                "|---|---|---|---|---|---|---|"
            )
            for case, state in plan:
                rows.append(_told(bench.compare(known[case], state, share)))
            if "overhead" in wanted:
                rows.append(_told(bench.overhead(known["small"], share)))
            if options.concurrent:
                rows.append(_told(bench.together(known["busy"], options.concurrent, share)))
            print(f"memory of `lumper up` afterwards: {bench.lumper.memory():.0f} MB")
        finally:
            bench.lumper.stop()
    if options.json:
        options.json.write_text(json.dumps([row.json() for row in rows], indent=1) + "\n")


def _told(row: Row) -> Row:
    print(row.text(), flush=True)
    return row


if __name__ == "__main__":
    main()
