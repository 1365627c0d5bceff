"""Answers that are written past aiohttp."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

from lumper.web.oci.bytes.wire import Wire


def test_an_answer_has_the_date_of_its_own_second() -> None:
    wire = Wire()
    for _ in range(2):
        before = int(time.time())
        (date,) = [line for line in wire.head({}).decode().split("\r\n") if line.startswith("Date: ")]
        assert before <= parsedate_to_datetime(date.removeprefix("Date: ")).timestamp() <= time.time()
        while int(time.time()) == before:
            continue
