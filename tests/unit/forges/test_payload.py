"""A body that two readers could read differently."""

from __future__ import annotations

import pytest

from lumper.errors import HookMalformed
from lumper.forges.payload import read_payload
from lumper.forges.port import Request

_TWO = Request(
    {}, b'{"ref": "refs/tags/v1", "ref": "refs/tags/v2", "deep": {"a": {"x": 1}, "a": {"x": 2}}, "other": "y"}'
)


def test_a_field_with_several_values_is_malformed_for_who_reads_it_and_nobody_else() -> None:
    payload = read_payload(_TWO)
    assert payload.text("other") == "y"
    for read in (payload.text, payload.text_or_empty, payload.flag, payload.object, payload.objects):
        with pytest.raises(HookMalformed, match="several values for ref"):
            read("ref")
    deep = payload.object("deep")
    assert deep is not None
    with pytest.raises(HookMalformed, match=r"several values for deep\.a"):
        deep.object("a")


def test_the_same_value_twice_is_that_value() -> None:
    assert read_payload(Request({}, b'{"ref": "x", "ref": "x"}')).text("ref") == "x"
