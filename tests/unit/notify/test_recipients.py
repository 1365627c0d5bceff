from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumper.model.source import Person
from lumper.notify.recipients import is_address, reaches_somebody, recipients

OCTO = Person("octocat", "octocat@users.noreply.github.com")
ADA = Person("Ada", "ada@example.org")
ADMIN = "admin@example.org"
PEOPLE = {"octocat": "octo@example.org", "Ada@Example.org": "ada@work.example"}


def _to(pusher: Person = OCTO, author: Person = ADA, people: dict[str, str] | None = None, admin: str = ADMIN) -> str:
    (address,) = recipients(pusher=pusher, author=author, people=people or {}, admin=admin)
    return address


def test_the_mail_map_knows_the_pusher_by_login_or_by_address_in_any_case() -> None:
    assert _to(people=PEOPLE) == "octo@example.org"
    assert _to(Person("OctoCat"), people=PEOPLE) == "octo@example.org"
    assert _to(Person("someone", "ADA@example.org"), Person(), people=PEOPLE) == "ada@work.example"


def test_without_an_entry_the_author_of_the_commit_is_told() -> None:
    assert _to() == "ada@example.org"


def test_the_author_s_address_is_looked_up_too() -> None:
    assert _to(Person("someone"), people=PEOPLE) == "ada@work.example"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "1234+octocat@users.noreply.github.com",
        "octocat@users.noreply.github.com",
        "noreply@github.com",
        "no-reply@example.org",
        "ada@noreply.codeberg.org",
        "ada@noreply.localhost",
        "donotreply@example.org",
        "Ada <ada@example.org>",
        "ada@example.org,evil@example.org",
        "ada@example.org\r\nBcc: evil@example.org",
        "ada@example.org\n",
        "ada @example.org",
        "Bcc:ada@example.org",
        "-oQ/tmp@example.org",
        "ada@-example.org",
        "ada@example.org\x00",
        "ädä@example.org",
        "x" * 65 + "@example.org",
        "a@" + "b" * 300,
    ],
)
def test_an_author_s_address_that_nobody_reads_or_that_is_hostile_gives_way_to_the_admin(address: str) -> None:
    assert _to(author=Person("Ada", address)) == ADMIN


def test_without_any_address_nobody_is_told() -> None:
    assert recipients(pusher=OCTO, author=Person(), people={}, admin="") == ()
    assert recipients(pusher=OCTO, author=Person(), people={}, admin="root\r\nBcc: x@example.org") == ()


def test_an_empty_name_is_not_a_key_of_the_map() -> None:
    assert _to(Person(), people={"": "evil@example.org"}, author=Person()) == ADMIN


@pytest.mark.parametrize("address", ["root@localhost", "a.b+c@sub.example.org", "O'Neill@example.org"])
def test_ordinary_addresses_are_addresses(address: str) -> None:
    assert is_address(address)
    assert reaches_somebody(address)


@given(st.text(st.characters(exclude_categories=())))
def test_whatever_is_an_address_is_one_word_without_separators(text: str) -> None:
    if is_address(text):
        assert text.isascii()
        assert text.isprintable()
        assert not set(text) & set(' ,;:<>()[]"\\')
