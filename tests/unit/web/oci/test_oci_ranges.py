"""Ranges of uploads and of blobs, whatever comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumper.errors import RegistryError
from lumper.web.oci.bytes.ranges import Span, parse_content_range, parse_range


@given(st.integers(0, 10**9), st.integers(1, 10**9))
def test_a_content_range_that_fits_its_length_tells_where_its_bytes_belong(first: int, length: int) -> None:
    for form in ("{}-{}", "bytes {}-{}/*", "bytes={}-{}", "bytes {}-{}/99"):
        header = form.format(first, first + length - 1)
        assert parse_content_range(header, length) == Span(first, first + length)
        assert parse_content_range(header, None) == Span(first, first + length)
        with pytest.raises(RegistryError):
            parse_content_range(header, length + 1)


@pytest.mark.parametrize("header", ["", "x", "1", "-5", "5-", "9-3", "0x1-2", "1-2-3", "¹-²", "٣-٤", "1-" + "9" * 40])
def test_a_content_range_that_is_none_is_refused(header: str) -> None:
    with pytest.raises(RegistryError) as caught:
        parse_content_range(header, None)
    assert caught.value.code == "RANGE_INVALID"


def test_no_content_range_says_nothing() -> None:
    assert parse_content_range(None, 5) is None


def test_a_request_without_bytes_may_name_the_byte_where_it_stands() -> None:
    assert parse_content_range("7-7", 0) == Span(7, 7)
    assert parse_content_range("7-6", 0) == Span(7, 7)
    with pytest.raises(RegistryError):
        parse_content_range("7-9", 0)


def test_so_many_parts_and_no_more_are_sent_and_none_at_all_means_everything() -> None:
    assert parse_range(f"bytes={','.join(['0-0'] * 128)}", 128) == [Span(0, 1)] * 128
    assert parse_range(f"bytes={','.join(['0-0'] * 129)}", 1000) is None
    for header in (None, "", "bytes", "bytes=", "bytes=,", "lines=0-0"):
        assert parse_range(header, 10) is None


@pytest.mark.parametrize("part", ["5-2", "x", "-", "1-2-3"])
def test_one_part_that_is_none_spoils_the_others(part: str) -> None:
    with pytest.raises(RegistryError):
        parse_range(f"bytes=0-1,{part}", 10)


@given(st.text(alphabet="bytes=0123456789-, ", max_size=30), st.integers(0, 100))
def test_a_range_lies_within_the_blob_or_is_passed_over_or_refused(header: str, size: int) -> None:
    try:
        spans = parse_range(header, size)
    except RegistryError as exc:
        assert exc.code == "RANGE_INVALID"
        return
    if spans is not None:
        assert spans
        assert all(0 <= start < end <= size for start, end in spans)
        assert sum(span.size for span in spans) <= size


@given(st.integers(1, 1000), st.data())
def test_a_range_is_what_was_asked_for(size: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, size - 1))
    last = data.draw(st.integers(start, size + 10))

    assert parse_range(f"bytes={start}-{last}", size) == [Span(start, min(last + 1, size))]
    assert parse_range(f"bytes={start}-", size) == [Span(start, size)]
    assert parse_range(f"bytes=-{start + 1}", size) == [Span(size - start - 1, size)]


@given(st.integers(1, 1000), st.integers(0, 999), st.integers(0, 10**30), st.integers(0, 30))
def test_numbers_may_have_any_length(size: int, start: int, beyond: int, zeros: int) -> None:
    start, end = start % size, f"{'0' * zeros}{10**18 + beyond}"

    assert parse_range(f"bytes={'0' * zeros}{start}-{end}", size) == [Span(start, size)]
    assert parse_range(f"bytes=-{end}", size) == [Span(0, size)]
    with pytest.raises(RegistryError):
        parse_range(f"bytes={end}-", size)


def test_more_digits_than_python_makes_a_number_of_are_no_trouble() -> None:
    assert parse_range(f"bytes=2-{'9' * 5000}", 10) == [Span(2, 10)]


@given(st.lists(st.integers(0, 500), min_size=4, max_size=40, unique=True).map(sorted), st.data())
def test_parts_come_in_the_order_in_which_they_were_asked_for(edges: list[int], data: st.DataObject) -> None:
    spans = data.draw(st.permutations([Span(*pair) for pair in zip(edges[::2], edges[1::2], strict=False)]))
    asked = " , ".join(f"{span.start}-{span.end - 1}" for span in spans)

    assert parse_range(f"Bytes={asked}", 500) == spans


@pytest.mark.parametrize("header", [None, "", "bytes", "lines=1-2", "bytes=", "bytes=,", "bytes=0-4,2-9,1-3"])
def test_what_asks_for_no_part_or_for_too_much_gets_the_whole_blob(header: str | None) -> None:
    assert parse_range(header, 10) is None


def test_more_parts_than_are_good_for_the_server_are_the_whole_blob() -> None:
    assert parse_range("bytes=" + ",".join(f"{n}-{n}" for n in range(200)), 1000) is None


@pytest.mark.parametrize(
    "header", ["bytes=4-2", "bytes=x", "bytes=-", "bytes=0-1,x", "bytes=10-", "bytes=-0", "bytes=0--1", "bytes=٣-٤"]
)
def test_a_range_that_is_none_or_lies_behind_the_end_is_refused(header: str) -> None:
    with pytest.raises(RegistryError):
        parse_range(header, 10)


def test_parts_behind_the_end_are_left_out() -> None:
    assert parse_range("bytes=90-99, 2-3, 10-", 10) == [Span(2, 4)]
