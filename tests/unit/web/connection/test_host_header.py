"""Which texts are hosts."""

from __future__ import annotations

import pytest
from yarl import URL

from lumper.web.connection.host_header import host_in, is_host


@pytest.mark.parametrize(
    "text",
    ["", "a", "a.example", "A-b_c.9", "10.0.0.1:80", "a:", "a:65535", "[::1]", "[::ffff:1.2.3.4]:5000", "a" * 255],
)
def test_names_and_addresses_with_or_without_a_port_are_hosts(text: str) -> None:
    assert is_host(text)


@pytest.mark.parametrize(
    "text",
    ["a b", "a/b", "a,b", "a@b", "a?b", "a#b", "a\\b", "a%41", 'a"', "ä", "::1", "[::1", "[]", "[a]:x", "a:b", "a:1:2",
     "a:123456", "http://a", "a\n", "a" * 256],
)  # fmt: skip
def test_anything_else_is_no_host(text: str) -> None:
    assert not is_host(text)


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("http://a:81/x", "a:81"),
        ("http://a:80/x", "a"),
        ("https://[::1]:5000", "[::1]:5000"),
        ("ftp://a/x", None),
        ("http://u@a/x", None),
        ("http://:p@a/x", None),
        ("http://a,b/x", None),
        ("http:///x", None),
    ],
)
def test_the_host_of_a_whole_url_has_its_port_and_no_credentials(target: str, host: str | None) -> None:
    assert host_in(URL(target, encoded=True)) == host
