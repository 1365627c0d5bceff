"""The body of a delivery as its page shows it."""

from __future__ import annotations

import pytest

from lumper.web.pages.projects.deliveries import readable


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"a":[1,"\xc3\xa9"]}', '{\n  "a": [\n    1,\n    "é"\n  ]\n}'),
        (b'{"ref":"v1\\u202egnp.exe"}', '{\n  "ref": "v1\\u202egnp.exe"\n}'),
        ('"\u2066a\u200b\ufeff\x9b"'.encode(), '"\\u2066a\\u200b\\ufeff\\u009b"'),
        (b'"\\ud800"', '"\\ud800"'),
        (b"payload=%7B%7D\x1b[2J\r\n", "payload=%7B%7D\\u001b[2J\\u000d\n"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"[" * 100_000, "[" * 100_000),
        (b"x" * (1 << 21), ""),
    ],
    ids=range(8),
)
def test_nothing_in_it_reads_otherwise_than_it_is(body: bytes, text: str) -> None:
    assert readable(body) == text
