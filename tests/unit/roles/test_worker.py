"""A worker with the dummy engine and a real git repository: what it tells the server, and when."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from lumper.build.engines.dummy import DummyEngine
from lumper.build.engines.registry_words import push_error
from lumper.build.port import BuildRequest, Report
from lumper.build.source.checkout import Mirrors
from lumper.model.builds.build import Outcome, Output
from lumper.model.builds.log import unpack
from lumper.model.events import (
    EVENTS,
    AttemptFinished,
    AttemptStarted,
    CancelBuild,
    Heartbeat,
    LogChunk,
    WorkerOnline,
)
from lumper.queue.port import Message
from lumper.roles.worker import Worker
from parts.engines.context import context_tar, stream
from parts.line.running import listening, message, running
from parts.line.worker_bench import JOBS, Bench, printed
from parts.suite.eventually import eventually


async def test_what_a_build_signs_in_with_is_masked_in_the_log_and_in_the_result(bench: Bench) -> None:
    async def credentials(_: str) -> tuple[str, str]:
        return "bot", "g1t/P4ssword"

    basic = base64.b64encode(b"bot:g1t/P4ssword").decode()
    lines = f"RUN echo g1t/P4ssword; echo {basic}; echo g1t%2FP4ssword\nRUN echo g1t/P4ssword >&2; exit 3\n"
    await bench.give(bench.tag("v1.0.1", f"FROM scratch\n{lines}"))
    async with bench.at_work(replace(bench.builder, git_credentials=credentials)) as ear:
        [finished] = await ear.until(AttemptFinished)
    told = printed(ear, 1) + finished.result.error + finished.result.hint
    assert "***" in printed(ear, 1)
    assert "***" in finished.result.error
    for form in ("g1t/P4ssword", basic, "g1t%2FP4ssword"):
        assert form not in told


async def test_a_log_that_is_too_long_says_so_and_tells_of_the_steps(bench: Bench) -> None:
    lines = "RUN " + "; ".join(f"echo line {number} of many" for number in range(3000))
    await bench.give(bench.tag("v1.0.1", f"FROM scratch\n{lines}\n"))
    async with bench.at_work(log_limit=10_000) as ear:
        [finished] = await ear.until(AttemptFinished)
    assert finished.result.outcome is Outcome.SUCCEEDED
    assert "[the log is longer than 10,000 bytes" in printed(ear, 1)
    assert "#1 line 2999 of many" not in printed(ear, 1)
    assert "DONE" in printed(ear, 1).splitlines()[-1]


async def test_a_build_is_told_from_its_beginning_to_its_end(bench: Bench) -> None:
    job = bench.tag("v1.0.1", "FROM scratch\nRUN echo hello\n", '[deploy]\nname = "app"\n')
    await bench.give(job)
    async with bench.at_work() as ear:
        [finished] = await ear.until(AttemptFinished)
    kinds = [type(payload) for payload in ear.heard if not isinstance(payload, Heartbeat)]
    assert kinds[:2] == [WorkerOnline, AttemptStarted]
    assert kinds[kinds.index(AttemptFinished) - 1] is LogChunk
    [started] = ear.of(AttemptStarted)
    assert (started.build_id, started.attempt, started.worker) == (1, 1, "w")
    assert started.claim == finished.claim
    result = finished.result
    assert (result.outcome, result.commit) == (Outcome.SUCCEEDED, job.commit)
    assert result.digest in bench.engine.pushed
    assert (result.author.name, result.author.email) == ("Ada Lovelace", "ada@example.org")
    assert result.service is not None
    assert set(result.stages) == {"checkout", "build", "push"}
    assert "#1 hello\n" in printed(ear, 1)
    assert finished.log_size == sum(len(unpack(chunk.data)) for chunk in ear.of(LogChunk))
    assert await bench.broker.depth(JOBS) == 0


async def test_an_image_that_the_engine_has_lost_before_its_push_is_built_again(bench: Bench) -> None:
    engine = DummyEngine(push_troubles=[push_error("app:1", "An image does not exist locally with the tag: app")])
    await bench.give(bench.tag("v1.0.1", "FROM scratch\nRUN echo hello\n"))
    async with bench.at_work(replace(bench.builder, engine=engine)) as ear:
        [finished] = await ear.until(AttemptFinished)
    assert finished.result.outcome is Outcome.SUCCEEDED
    assert len(engine.requests) == 2
    assert "It is built again." in printed(ear, 1)
    assert "#4001 CACHED" in printed(ear, 1)


async def test_what_is_built_once_more_gets_no_tag_and_comes_from_no_cache(
    bench: Bench,
) -> None:
    toml = '[build]\ntags = [{ template = "raw:edge", branches = ["main"] }]\n'
    first = bench.tag("v1.0.1", "FROM scratch\nRUN echo hello\n", toml)
    again = replace(first, build_id=2, push_tag="_build-2-1", trigger="verify", verifies=1)
    await bench.give(first, again, replace(again, build_id=3, push_tag="_build-3-1"))
    async with bench.at_work() as ear:
        ended = {one.build_id: one.result for one in await ear.until(AttemptFinished, 3)}
    assert ended[1].outcome is Outcome.SKIPPED
    assert ended[2].outcome is ended[3].outcome is Outcome.SUCCEEDED
    assert ended[2].digest == ended[3].digest
    assert "hello" in printed(ear, 2)
    assert "hello" in printed(ear, 3)  # a cached step would have printed nothing


async def test_a_job_is_acknowledged_while_it_runs(bench: Bench) -> None:
    await bench.give(bench.tag("v1.0.1", "FROM scratch\nRUN wait\n"))
    async with bench.at_work() as ear:
        await ear.until(AttemptStarted)
        await bench.runs("wait")
        assert await bench.broker.depth(JOBS) == 0
        await ear.until(Heartbeat)


async def test_what_fails_fails_with_its_reason_and_the_next_build_runs(bench: Bench) -> None:
    await bench.give(bench.tag("v1.0.1", "FROM scratch\nRUN exit 3\n"), bench.tag("v1.0.2", "FROM scratch\n"))
    async with bench.at_work() as ear:
        failed, succeeded = await ear.until(AttemptFinished, 2)
    assert (failed.result.outcome, failed.result.temporary) == (Outcome.FAILED, False)
    assert "exit code 3" in failed.result.error
    assert "exit code: 3" in printed(ear, 1)
    assert succeeded.result.outcome is Outcome.SUCCEEDED


async def test_a_failure_is_explained_by_what_the_commit_has(bench: Bench) -> None:
    await bench.give(bench.tag("v1.0.1", "FROM scratch\nCOPY dockerfile /\n"))
    async with bench.at_work() as ear:
        [finished] = await ear.until(AttemptFinished)
    assert finished.result.hint == "There is Dockerfile."


async def test_an_engine_that_is_away_is_a_temporary_failure_with_a_hint(bench: Bench) -> None:
    await bench.give(bench.tag("v1.0.1", "FROM scratch\n"))
    async with bench.at_work(replace(bench.builder, engine=DummyEngine(down=True))) as ear:
        [finished] = await ear.until(AttemptFinished)
    assert (finished.result.outcome, finished.result.temporary) == (Outcome.FAILED, True)
    assert "doctor" in finished.result.hint


async def test_a_running_build_is_cancelled(bench: Bench) -> None:
    await bench.give(bench.tag("v1.0.1", "FROM scratch\nRUN wait\n"))
    async with bench.at_work() as ear:
        [started] = await ear.until(AttemptStarted)
        await bench.runs("wait")
        await bench.tell(CancelBuild(1, 1, started.claim))
        [finished] = await ear.until(AttemptFinished)
    assert finished.result.outcome is Outcome.CANCELLED
    assert bench.engine.running == []


async def test_only_the_claim_that_is_named_is_cancelled(bench: Bench) -> None:
    job = bench.tag("v1.0.1", "FROM scratch\nRUN wait\n")
    await bench.give(job, job)  # the same job came twice
    async with bench.at_work(concurrency=2) as ear:
        first, second = await ear.until(AttemptStarted, 2)
        await bench.runs("wait", "wait")
        await bench.tell(CancelBuild(1, 1, "of somebody else"), 1)
        await bench.tell(CancelBuild(1, 2, second.claim), 2)
        await bench.tell(CancelBuild(1, 1, second.claim), 3)
        [finished] = await ear.until(AttemptFinished)
        assert (finished.claim, finished.result.outcome) == (second.claim, Outcome.CANCELLED)
        assert bench.engine.running == ["wait"]
        await bench.tell(CancelBuild(1, 1), 4)
        _, other = await ear.until(AttemptFinished, 2)
        assert other.claim == first.claim


async def test_a_build_that_is_cancelled_before_it_begins_does_not_begin(bench: Bench) -> None:
    await bench.give(bench.tag("v1.0.1", "FROM scratch\nRUN wait\n"))
    cancelled_at_start = Cancelling(bench)
    async with bench.at_work(replace(bench.builder, mirrors=cancelled_at_start)) as ear:
        [finished] = await ear.until(AttemptFinished)
    assert finished.result.outcome is Outcome.CANCELLED
    assert bench.engine.running == []


class Cancelling(Mirrors):
    """Mirrors from which nothing comes before the build is cancelled."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench.folder / "mirrors")
        self._bench = bench

    @asynccontextmanager
    async def checkout(self, request: object) -> AsyncIterator[None]:  # type: ignore[override]
        await self._bench.tell(CancelBuild(1, 1))
        await asyncio.Event().wait()
        yield


async def test_as_many_builds_run_as_there_are_slots(bench: Bench) -> None:
    jobs = [bench.tag(f"v1.0.{n}", f"FROM scratch\nRUN echo {n}; wait\n") for n in (1, 2, 3)]
    await bench.give(*jobs)
    async with bench.at_work(concurrency=2) as ear:
        await bench.runs("echo 1; wait", "echo 2; wait")
        assert await bench.broker.depth(JOBS) == 1
        await bench.tell(CancelBuild(1, 1))
        await bench.runs("echo 2; wait", "echo 3; wait")
        assert len(ear.of(AttemptFinished)) == 1


async def test_messages_that_are_no_jobs_are_put_aside_and_take_no_slot(bench: Bench) -> None:
    await bench.broker.publish([message(CancelBuild(1, 1), JOBS, 100), Message("x", JOBS, b"{}")])
    await bench.give(bench.tag("v1.0.1", "FROM scratch\n"))
    async with bench.at_work() as ear:
        await ear.until(AttemptFinished)
    assert len(await bench.broker.dead_letters(JOBS)) == 2


async def test_a_worker_that_ends_stops_its_builds_and_says_farewell(bench: Bench) -> None:
    await bench.give(bench.tag("v1.0.1", "FROM scratch\nRUN wait\n"))
    worker = Worker(bench.broker, bench.builder, name="w", concurrency=1, spool=bench.folder / "spool")
    async with listening(bench.broker, EVENTS) as ear:
        async with running(worker.run()):
            await bench.runs("wait")
        assert bench.engine.running == []
        came, farewell = await ear.until(WorkerOnline, 2)
    assert came.boot != farewell.boot
    assert ear.of(AttemptFinished) == []


async def test_a_worker_ends_also_when_the_queue_is_away(bench: Bench) -> None:
    await bench.give(bench.tag("v1.0.1", "FROM scratch\nRUN wait\n"))
    async with asyncio.timeout(60):
        async with bench.at_work() as ear:
            await ear.until(LogChunk)
            await bench.runs("wait")
            bench.broker.interrupt()
        assert bench.engine.running == []


async def test_a_build_goes_on_while_the_queue_is_away_and_nothing_it_says_is_lost(bench: Bench) -> None:
    class Cutting(DummyEngine):
        """An engine in the middle of whose build the queue goes away."""

        async def build(self, request: BuildRequest, context: AsyncIterator[bytes], report: Report) -> None:
            report(Output(0, 1, 0.0, "one"))
            await heard.wait()
            bench.broker.interrupt()
            await super().build(request, context, report)
            built.set()

    heard, built = asyncio.Event(), asyncio.Event()
    await bench.give(bench.tag("v1.0.1", "FROM scratch\nRUN echo two\n"))
    async with bench.at_work(replace(bench.builder, engine=Cutting())) as ear:
        await ear.until_true(lambda: printed(ear, 1).endswith(" one"))
        heard.set()
        await built.wait()
        bench.broker.resume()
        [finished] = await ear.until(AttemptFinished)
    assert finished.result.outcome is Outcome.SUCCEEDED
    said = printed(ear, 1)
    assert 0 < said.index(" one\n") < said.index(" two\n")


class Forgetful(DummyEngine):
    """An engine that takes its time to forget a name."""

    def __init__(self) -> None:
        super().__init__()
        self.may_forget = asyncio.Event()

    async def remove(self, image: str) -> None:
        await self.may_forget.wait()
        await super().remove(image)


async def test_a_result_does_not_wait_until_the_engine_has_forgotten_the_image(bench: Bench) -> None:
    engine = Forgetful()
    await bench.give(bench.tag("v1.0.1", "FROM scratch\n"), bench.tag("v1.0.2", "FROM scratch\nRUN wait\n"))
    async with bench.at_work(replace(bench.builder, engine=engine)) as ear:
        [finished] = await ear.until(AttemptFinished)
        assert finished.result.outcome is Outcome.SUCCEEDED
        assert await engine.images("") == ["registry.test/owner/app:_build-1-1"]
        assert len(ear.of(AttemptStarted)) == 1  # its slot is not free before

        engine.may_forget.set()
        await ear.until(AttemptStarted, 2)
        assert await engine.images("") == []


@pytest.mark.parametrize("lines", ["RUN exit 3\n", "RUN wait\n"])
async def test_the_engine_forgets_the_image_of_a_build_that_fails_or_is_cancelled(bench: Bench, lines: str) -> None:
    forgotten: list[str] = []

    class Noting(DummyEngine):
        async def remove(self, image: str) -> None:
            forgotten.append(image)

    engine = Noting()

    async def waits() -> bool:
        return list(engine.running) == ["wait"]

    await bench.give(bench.tag("v1.0.1", f"FROM scratch\n{lines}"))
    async with bench.at_work(replace(bench.builder, engine=engine)) as ear:
        if "wait" in lines:
            await eventually(waits)
            await bench.tell(CancelBuild(1, 1))
        await ear.until(AttemptFinished)
    assert forgotten == ["registry.test/owner/app:_build-1-1"]


class Mistaken(DummyEngine):
    """An engine with a mistake in it."""

    async def build(self, *_: object) -> None:
        raise KeyError("vertex")


async def test_a_mistake_of_ours_fails_one_build_and_not_the_worker(bench: Bench) -> None:
    await bench.give(bench.tag("v1.0.1", "FROM scratch\n"), bench.tag("v1.0.2", "FROM scratch\n"))
    async with bench.at_work(replace(bench.builder, engine=Mistaken())) as ear:
        first, second = await ear.until(AttemptFinished, 2)
    assert "KeyError('vertex')" in first.result.error
    assert first.result.hint
    assert second.build_id == 2


async def test_a_worker_that_was_killed_removes_the_names_that_it_left_in_the_engine_and_no_others(
    bench: Bench,
) -> None:
    registry = bench.builder.registry
    for tag in ("_build-7-2", "_build-8-1"):
        request = BuildRequest(tag, f"{registry}/app:{tag}")
        await bench.engine.build(request, stream(context_tar({"Dockerfile": "FROM scratch\n"})), lambda _: None)
    (bench.folder / "spool").mkdir(exist_ok=True)
    (bench.folder / "spool" / "7-2-c1.jsonl").touch()

    async def only_the_other() -> bool:
        return await bench.engine.images("") == [f"{registry}/app:_build-8-1"]

    async with bench.at_work():
        await eventually(only_the_other)


async def test_a_role_that_begins_anew_has_all_its_slots_and_holds_nothing(bench: Bench) -> None:
    worker = Worker(bench.broker, bench.builder, name="w", concurrency=1, spool=bench.folder / "spool")
    job = bench.tag("v1.0.1", "FROM scratch\nRUN wait\n")
    await bench.give(job)
    async with listening(bench.broker, EVENTS) as ear:
        async with running(worker.run()):
            await bench.runs("wait")
        await bench.give(bench.tag("v1.0.2", "FROM scratch\n"))
        async with running(worker.run()):
            finished = await ear.until(AttemptFinished)
    assert [each.build_id for each in finished] == [2]
    boots = [each.boot for each in ear.of(WorkerOnline)]
    assert len(set(boots)) == len(boots)


async def test_a_spool_that_is_gone_fails_the_build_and_not_the_worker(bench: Bench) -> None:
    async with bench.at_work() as ear:
        await ear.until(WorkerOnline)
        (bench.folder / "spool").rmdir()
        await bench.give(bench.tag("v1.0.1", "FROM scratch\n"))
        [finished] = await ear.until(AttemptFinished)
        (bench.folder / "spool").mkdir()
        await bench.broker.publish([message(bench.tag("v1.0.2", "FROM scratch\n"), JOBS, 2)])
        _, second = await ear.until(AttemptFinished, 2)
    assert (finished.result.outcome, finished.log_size) == (Outcome.FAILED, 0)
    assert "No such file or directory" in finished.result.error
    assert second.result.outcome is Outcome.SUCCEEDED
