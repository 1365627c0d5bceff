"""What a token realm is told and asked, and what is done with its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace

import pytest
from yarl import URL

from lumper.errors import RemoteInvalid
from lumper.registry.remote import auth
from lumper.registry.remote.auth import Authority, Credentials

HOME = URL("https://r.example")
OURS = 'Bearer realm="https://r.example/token",service="s",scope="repository:told:pull"'
OTHERS = 'Bearer realm="https://x.example/token"'
ANN = Credentials("ann", "secret")
BASIC = "Basic YW5uOnNlY3JldA=="
SCOPE = "repository:a:pull repository:b:pull"

Asked = tuple[str, str, Mapping[str, str], Mapping[str, str] | None]


class Realm:
    """A token service: gives this answer, and remembers what it was asked."""

    def __init__(self, answer: Mapping[str, object] | None = None) -> None:
        self.answer = {"token": "t"} if answer is None else answer
        self.asked: list[Asked] = []

    async def __call__(
        self, method: str, url: URL, headers: Mapping[str, str], form: Mapping[str, str] | None
    ) -> Mapping[str, object]:
        await asyncio.sleep(0)
        self.asked.append((method, str(url), headers, form))
        return self.answer

    def authority(self, credentials: Credentials = ANN, auth_host: str = "") -> Authority:
        return Authority(HOME, credentials, auth_host, self)


async def test_the_registrys_own_realm_is_told_the_password_and_gives_a_token_for_the_scope() -> None:
    realm = Realm()
    authority = realm.authority()
    assert authority.header(SCOPE) == {}

    assert await authority.challenged([OURS], SCOPE, {})

    url = "https://r.example/token?service=s&scope=repository:a:pull&scope=repository:b:pull"
    assert realm.asked == [("GET", url, {"Authorization": BASIC}, None)]
    assert authority.header(SCOPE) == {"Authorization": "Bearer t"}
    assert authority.header("repository:c:pull") == {}
    assert authority.withheld == ""


async def test_without_a_scope_of_ours_the_registrys_is_asked_for() -> None:
    realm = Realm()

    assert await realm.authority(Credentials("ann")).challenged([OURS], "", {})

    assert realm.asked == [("GET", "https://r.example/token?service=s&scope=repository:told:pull", {}, None)]


@pytest.mark.parametrize("credentials", [ANN, Credentials(identity_token="refresh")])
async def test_a_realm_of_others_gets_nothing_and_that_is_remembered(credentials: Credentials) -> None:
    realm = Realm()
    authority = realm.authority(credentials)

    assert await authority.challenged([OTHERS], "", {})

    assert realm.asked == [("GET", "https://x.example/token", {}, None)]
    assert authority.withheld == "x.example"


async def test_nothing_is_withheld_where_there_is_nothing() -> None:
    authority = Realm().authority(Credentials())

    assert await authority.challenged([OTHERS], "", {})

    assert authority.withheld == ""


async def test_a_named_realm_gets_the_password() -> None:
    realm = Realm()

    assert await realm.authority(auth_host="x.example").challenged([OTHERS], "", {})

    assert realm.asked == [("GET", "https://x.example/token", {"Authorization": BASIC}, None)]


async def test_a_refresh_token_goes_into_a_form() -> None:
    realm = Realm({"access_token": "t2"})
    authority = realm.authority(Credentials(identity_token="refresh"))

    assert await authority.challenged([OURS], SCOPE, {})

    form = {"grant_type": "refresh_token", "client_id": "lumper", "service": "s", "scope": SCOPE}
    assert realm.asked == [("POST", "https://r.example/token", {}, {**form, "refresh_token": "refresh"})]
    assert authority.header(SCOPE) == {"Authorization": "Bearer t2"}


async def test_a_form_has_no_empty_fields() -> None:
    realm = Realm()

    assert await realm.authority(Credentials(identity_token="r")).challenged(
        ['Bearer realm="https://r.example/"'], "", {}
    )

    form = {"grant_type": "refresh_token", "client_id": "lumper", "refresh_token": "r"}
    assert realm.asked == [("POST", "https://r.example/", {}, form)]


async def test_who_was_refused_together_asks_for_one_token() -> None:
    realm = Realm()
    authority = realm.authority()

    assert all(await asyncio.gather(*(authority.challenged([OURS], SCOPE, {}) for _ in range(5))))

    assert len(realm.asked) == 1
    assert await authority.challenged([OURS], SCOPE, authority.header(SCOPE))
    assert len(realm.asked) == 2


async def test_a_name_and_password_are_tried_once_where_no_token_is_wanted() -> None:
    realm = Realm()
    authority = realm.authority()

    assert await authority.challenged(['Basic realm="x"'], SCOPE, {})
    assert authority.header("any") == {"Authorization": BASIC}
    assert not await authority.challenged(['Basic realm="x"'], SCOPE, authority.header(SCOPE))
    assert not await Realm().authority(Credentials("ann")).challenged(['Basic realm="x"'], SCOPE, {})
    assert not await Realm().authority().challenged(["Negotiate"], SCOPE, {})
    assert realm.asked == []


async def test_who_may_be_told_at_once_is_and_goes_over_to_tokens() -> None:
    authority = Realm().authority(Credentials("ann", "secret", at_once=True))
    sent = authority.header(SCOPE)
    assert sent == {"Authorization": BASIC}

    assert await authority.challenged([OURS, 'Basic realm="x"'], SCOPE, sent)

    assert authority.header(SCOPE) == {"Authorization": "Bearer t"}
    assert authority.header("other") == {}


async def test_a_token_whose_time_is_over_is_no_reason_to_ask_without_one() -> None:
    realm = Realm()

    assert await realm.authority().challenged([OURS], SCOPE, {"Authorization": "Bearer old"})

    assert len(realm.asked) == 1


async def test_a_token_that_was_refused_is_forgotten_also_if_there_is_no_other() -> None:
    realm = Realm()
    authority = realm.authority()
    assert await authority.challenged([OURS], SCOPE, {})

    realm.answer = {}
    with pytest.raises(RemoteInvalid):
        await authority.challenged([OURS], SCOPE, authority.header(SCOPE))

    assert authority.header(SCOPE) == {}


async def test_the_last_thousand_tokens_are_remembered() -> None:
    authority = Realm().authority()

    for number in range(1001):
        assert await authority.challenged([OURS], f"repository:r{number}:pull", {})

    known = [bool(authority.header(f"repository:r{number}:pull")) for number in range(1001)]
    assert known == [False] + [True] * 1000


@pytest.mark.parametrize("answer", [{}, {"token": ""}, {"token": 5}, {"token": "a\nb"}, {"token": "ä"}])
async def test_what_is_no_token_is_an_error(answer: Mapping[str, object]) -> None:
    with pytest.raises(RemoteInvalid, match="no token"):
        await Realm(answer).authority().challenged([OURS], SCOPE, {})


@pytest.mark.parametrize(
    ("told", "good"), [(None, 48), (0, 48), (-5, 48), (1, 48), ("600", 48), (1e12, 48), (60, 48), (600, 480)]
)
async def test_a_token_is_good_for_most_of_its_time(told: object, good: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """At least for a minute, says distribution's specification."""
    now = [1000.0]
    monkeypatch.setattr(auth, "time", SimpleNamespace(monotonic=lambda: now[0]))
    authority = Realm({"token": "t", "expires_in": told}).authority()
    assert await authority.challenged([OURS], SCOPE, {})

    now[0] += good - 0.1
    assert authority.header(SCOPE) == {"Authorization": "Bearer t"}
    now[0] += 0.2
    assert authority.header(SCOPE) == {}
