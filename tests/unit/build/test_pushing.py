"""The push as a stage: tried again for reasons that pass, and for no others; and the end of what is silent."""

from __future__ import annotations

import asyncio
import time
from functools import partial

import pytest

from lumper.build.engines.dummy import DummyEngine
from lumper.build.engines.registry_words import push_error
from lumper.build.idle_timeout import Listener
from lumper.build.port import BuildRequest, Login, Pushed, Report
from lumper.build.pushing import LOST_IMAGES, push_image, push_or_rebuild
from lumper.errors import (
    BuildTimeout,
    EngineError,
    EngineUnavailable,
    ImageGone,
    PushFailed,
    RegistryFull,
)
from lumper.model.builds.build import Output, Progress, Step, StepState
from parts.engines.context import context_tar, stream

IMAGE = "registry.test/app:1"


async def engine_with(*troubles: EngineError) -> DummyEngine:
    """An engine that has the image, and whose first pushes fail like this."""
    engine = DummyEngine(push_troubles=troubles)
    await engine.build(BuildRequest("1", IMAGE), stream(context_tar({"Dockerfile": "FROM scratch\n"})), lambda _: None)
    return engine


class Counter:
    """Signs in, and counts how often."""

    def __init__(self) -> None:
        self.count = 0

    async def login(self) -> Login:
        """New credentials."""
        self.count += 1
        return Login("worker", f"token {self.count}")


@pytest.mark.parametrize(
    "trouble",
    [
        push_error(IMAGE, "received unexpected HTTP status: 503 Service Unavailable"),
        push_error(IMAGE, "toomanyrequests: There were too many requests."),
        push_error(IMAGE, "unauthorized: authentication required"),
        push_error(IMAGE, 'Put "http://registry.test/v2/": dial tcp: connection refused'),
        push_error(IMAGE, "unexpected EOF"),
        EngineUnavailable("The engine is away."),
    ],
    ids=lambda error: error.message,
)
async def test_what_may_pass_is_tried_again_with_a_new_token(trouble: EngineError) -> None:
    told: list[Progress] = []
    counter = Counter()
    engine = await engine_with(trouble, trouble)
    pushed = await push_image(engine, IMAGE, counter.login, told.append, timeout=9, delays=(0.0, 0.0))
    assert pushed.digest in engine.pushed
    assert counter.count == 3
    waits = [step for step in told if isinstance(step, Step) and step.name == "push again in 0 s"]
    assert [step.state for step in waits] == [StepState.RUNNING, StepState.DONE] * 2


async def test_a_registry_is_not_asked_before_the_time_that_it_names() -> None:
    told: list[Progress] = []
    engine = await engine_with(push_error(IMAGE, "registry.test answered 429", retry_after=0.4))
    begun = time.monotonic()
    pushed = await push_image(engine, IMAGE, Counter().login, told.append, timeout=9, delays=(0.0, 0.0))
    assert pushed.digest in engine.pushed
    assert time.monotonic() - begun >= 0.4
    assert "push again in 0.4 s" in [step.name for step in told if isinstance(step, Step)]


async def test_a_wait_that_is_too_long_is_left_to_another_attempt() -> None:
    trouble = push_error(IMAGE, "toomanyrequests: slower, please", retry_after=301)
    engine, counter = await engine_with(trouble), Counter()
    with pytest.raises(PushFailed, match="slower") as raised:
        await push_image(engine, IMAGE, counter.login, lambda _: None, timeout=9, delays=(0.0,))
    assert (counter.count, raised.value.temporary) == (1, True)
    assert "fewer requests" in raised.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "denied: requested access to the resource is denied",
        "denied: The tag app:1 is immutable by the rule for app.",
        "denied: The quota of the rule for app is exceeded: 100 bytes",
        "received unexpected HTTP status: 403 Forbidden",
        "An image does not exist locally with the tag: registry.test/app",
        "tag does not exist: registry.test/app:1",
    ],
)
async def test_what_stays_refused_is_not_tried_again(text: str) -> None:
    counter = Counter()
    engine = await engine_with(push_error(IMAGE, text))
    with pytest.raises(PushFailed) as raised:
        await push_image(engine, IMAGE, counter.login, lambda _: None, timeout=9, delays=(0.0, 0.0))
    assert (counter.count, raised.value.temporary) == (1, False)


async def test_an_image_that_is_gone_each_time_is_not_built_for_ever() -> None:
    engine = await engine_with(*(push_error(IMAGE, "tag does not exist: registry.test/app:1") for _ in range(9)))
    built = Counter()
    with pytest.raises(ImageGone, match="tag does not exist"):
        await push_or_rebuild(partial(engine.push, IMAGE, None, lambda _: None), built.login, lambda _: None)
    assert built.count == LOST_IMAGES


async def test_a_full_registry_is_left_to_another_attempt() -> None:
    engine, counter = await engine_with(push_error(IMAGE, "no space left on device")), Counter()
    with pytest.raises(RegistryFull):
        await push_image(engine, IMAGE, counter.login, lambda _: None, timeout=9, delays=(0.0,))
    assert counter.count == 1


async def test_the_last_reason_is_told_when_no_try_helps() -> None:
    troubles = [push_error(IMAGE, f"503 number {n}") for n in range(3)]
    with pytest.raises(PushFailed, match="number 2"):
        await push_image(
            await engine_with(*troubles), IMAGE, Counter().login, lambda _: None, timeout=9, delays=(0.0, 0.0)
        )


async def test_a_push_that_hangs_ends() -> None:
    class Hanging(DummyEngine):
        async def push(self, image: str, login: Login | None, report: Report) -> Pushed:
            await asyncio.Event().wait()
            return await super().push(image, login, report)

    with pytest.raises(BuildTimeout, match="push did not end"):
        await push_image(Hanging(), IMAGE, Counter().login, lambda _: None, timeout=0.01)


async def test_silence_ends_the_work_before_the_error_is_raised() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(BuildTimeout, match="printed nothing"):
        await Listener(lambda _: None).attend(work(), 0.02)
    assert ended.is_set()


async def test_who_speaks_is_left_alone_and_what_goes_wrong_comes_out() -> None:
    told: list[Progress] = []
    listener = Listener(told.append)

    async def work() -> None:
        for n in range(10):
            listener.report(Output(1, 1, 0.0, str(n)))
            await asyncio.sleep(0.02)
        raise PushFailed("of its own")

    with pytest.raises(PushFailed, match="of its own"):
        await listener.attend(work(), 0.15)
    assert len(told) == 10


async def test_cancelling_the_wait_cancels_the_work() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.create_task(Listener(lambda _: None).attend(work(), 0))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()
