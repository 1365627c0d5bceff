from __future__ import annotations

import pytest

from lumper.errors import QueueError
from lumper.model.events import worker_topic
from lumper.queue.brokers.rabbitmq_link import Link
from lumper.queue.brokers.rabbitmq_topology import LONGEST_DELAY, dead_queue, delay_queue, topic_queue


@pytest.mark.parametrize(
    ("delay", "name"),
    [
        (0.01, "lumper-delay.250"),
        (0.25, "lumper-delay.250"),
        (0.26, "lumper-delay.500"),
        (1, "lumper-delay.1000"),
        (1.5, "lumper-delay.2000"),
        (900, "lumper-delay.1024000"),
        (10**9, "lumper-delay.4096000"),
    ],
)
def test_a_delay_waits_with_those_of_its_size(delay: float, name: str) -> None:
    assert delay_queue("builds", delay).name == name


def test_there_are_few_delay_queues_whatever_the_delays() -> None:
    names = {delay_queue("builds", seconds / 10).name for seconds in range(1, int(LONGEST_DELAY) * 20)}
    assert len(names) == 15


def test_only_the_queues_of_one_worker_vanish() -> None:
    personal = worker_topic("local")
    assert topic_queue(personal, 60).arguments["x-expires"] == 60_000
    assert dead_queue(personal, 60).arguments["x-expires"] == 60_000
    assert "x-expires" not in topic_queue("builds", 60).arguments
    assert delay_queue(personal, 1).name != delay_queue("builds", 1).name


@pytest.mark.parametrize("topic", ["", "worker.x.dead", "x" * 300])
def test_a_name_that_would_collide_or_not_fit_is_refused(topic: str) -> None:
    with pytest.raises(QueueError, match="name of a topic"):
        topic_queue(topic, 60)


@pytest.mark.parametrize("url", ["", "http://lumper:hunter2@host/", "amqp://", "amqp://lumper:hunter2@host:port/"])
def test_a_wrong_address_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(QueueError) as refused:
        Link(url, "test")
    assert "hunter2" not in refused.value.sentence
    assert refused.value.__suppress_context__


def test_a_link_names_its_place_without_the_password() -> None:
    assert Link("amqp://lumper:hunter2@rabbit.example/", "test").place == "rabbit.example:5672"
    assert Link("amqps://lumper:hunter2@rabbit.example/", "test").place == "rabbit.example:5671"
    assert Link("amqp://lumper:hunter2@[::1]:5673/", "test").place == "[::1]:5673"
