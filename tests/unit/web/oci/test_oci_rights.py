"""What the sender of a request may do: rights and credentials together, as pure decisions."""

from __future__ import annotations

import pytest

from lumper.errors import RegistryError
from lumper.model.images.image import PRIVATE_PREFIX
from lumper.model.people.people import Identity, Role
from lumper.model.people.rights import NOTHING, Grant, Rights, grant
from lumper.web.auth.authenticator import TokenScope
from lumper.web.oci.address import Address, Kind
from lumper.web.oci.rights import Caller, Challenge, asked_scopes, scope_for, scope_of

PUBLIC = Rights((grant("public/*", ["pull"]),))
PULLER = grant("team/*", ["pull"])
PUSHER = grant("team/app", ["push"])


def caller(
    *grants: Grant, access: dict[str, set[str]] | None = None, role: Role = Role.USER, anonymous: Rights = NOTHING
) -> Caller:
    reached = None if access is None else {name: frozenset(actions) for name, actions in access.items()}
    return Caller(TokenScope(Identity("ann", role, grants), reached), anonymous)


def asked_for(sender: Caller, repository: str, action: str) -> tuple[str, str] | str:
    """What the sender is told: "" to go on, a scope with an error to sign in for, or a code that ends it."""
    try:
        sender.check(repository, action, "the scope")
    except Challenge as exc:
        return exc.scope, exc.error
    except RegistryError as exc:
        assert "ann" in exc.message or "anonymous" in exc.message
        return exc.code
    return ""


@pytest.mark.parametrize(
    ("sender", "action", "told"),
    [
        (caller(PUSHER), "push", ""),
        (caller(PULLER), "pull", ""),
        (caller(PULLER), "push", "DENIED"),
        (caller(), "pull", "DENIED"),
        (caller(PUSHER, access={"repository:team/app": {"pull"}}), "pull", ""),
        (caller(PUSHER, access={"repository:team/app": {"pull"}}), "push", ("the scope", "insufficient_scope")),
        (caller(PUSHER, access={"repository:team/other": {"push"}}), "push", ("the scope", "insufficient_scope")),
        (caller(PULLER, access={"repository:team/app": {"push"}}), "push", "DENIED"),
        (Caller(TokenScope(None), NOTHING), "pull", ("the scope", "")),
        (Caller(TokenScope(None, {}), NOTHING), "pull", ("the scope", "insufficient_scope")),
        (Caller(TokenScope(None), Rights((PULLER,))), "pull", ""),
        (Caller(TokenScope(None), Rights((PULLER,))), "push", ("the scope", "")),
        (Caller(TokenScope(None, {}), Rights((PULLER,))), "pull", ("the scope", "insufficient_scope")),
    ],
)
def test_what_is_not_allowed_is_a_challenge_only_where_other_credentials_may_help(
    sender: Caller, action: str, told: tuple[str, str] | str
) -> None:
    assert asked_for(sender, "team/app", action) == told
    assert sender.may("team/app", action) == (told == "")


@pytest.mark.parametrize(
    ("sender", "told"),
    [
        (caller(), ""),
        (caller(role=Role.ADMIN), ""),
        (caller(role=Role.BUILD), "DENIED"),
        (caller(role=Role.DEPLOYER), "DENIED"),
        (caller(access={"registry:catalog": {"*"}}), ""),
        (caller(access={"registry:catalog": {"pull"}}), ("registry:catalog:*", "insufficient_scope")),
        (caller(access={}), ("registry:catalog:*", "insufficient_scope")),
        (Caller(TokenScope(None), PUBLIC), ("registry:catalog:*", "")),
    ],
)
def test_who_may_see_the_list_of_repositories(sender: Caller, told: tuple[str, str] | str) -> None:
    found: tuple[str, str] | str = ""
    try:
        sender.check_catalog()
    except Challenge as exc:
        found = exc.scope, exc.error
    except RegistryError as exc:
        found = exc.code
    assert found == told


@pytest.mark.parametrize(
    ("scopes", "granted"),
    [
        (["repository:team/app:pull,push"], {"repository:team/app": {"pull", "push"}}),
        (["repository:team/app:*"], {"repository:team/app": {"pull", "push"}}),
        (["repository:team/app:pull", "repository:team/app:push"], {"repository:team/app": {"pull", "push"}}),
        (["repository:team/x:pull,push,delete"], {"repository:team/x": {"pull"}}),
        (["repository:team/x:push"], {}),
        (["repository:team/app:admin"], {}),
        (["repository:Team/App:pull", "repository:team/app", "team/app:pull", "", ":", "::"], {}),
        (["repository(plugin):team/app:pull"], {}),
        (["registry:catalog:*"], {"registry:catalog": {"*"}}),
        (["registry:catalog:pull", "registry:other:*", "registry:catalog"], {}),
        (["repository:other/x:pull", "repository:team/x:pull"], {"repository:team/x": {"pull"}}),
    ],
)
def test_a_token_reaches_as_far_as_is_asked_for_and_allowed(scopes: list[str], granted: dict[str, set[str]]) -> None:
    assert caller(PULLER, PUSHER).reachable(scopes) == granted


def test_what_is_no_repository_gets_no_token_from_anybody() -> None:
    assert (
        caller(role=Role.ADMIN).reachable(["repository:Team/App:pull", "repository:a//b:pull", "repository::pull"])
        == {}
    )


def test_a_build_gets_no_token_for_the_list_of_repositories() -> None:
    assert caller(role=Role.BUILD).reachable(["registry:catalog:*"]) == {}
    assert Caller(TokenScope(None), PUBLIC).reachable(["registry:catalog:*", "repository:public/a:pull,push"]) == {
        "repository:public/a": {"pull"}
    }


def test_credentials_for_certain_repositories_name_them() -> None:
    access = {"repository:a/b": {"pull"}, "registry:catalog": {"*"}, "repository:c": {"push"}}

    assert caller(access=access).limited_to() == ["a/b", "c"]
    assert caller(access={}).limited_to() == []
    assert caller().limited_to() is None


def test_an_upload_belongs_to_an_identity_and_not_to_a_name() -> None:
    owners = {caller(role=role).owner for role in (Role.USER, Role.ROBOT, Role.BUILD)} | {
        Caller(TokenScope(None), PUBLIC).owner
    }

    assert owners == {"user:ann", "robot:ann", "build:ann", ""}
    assert caller(PUSHER, access={}).owner == "user:ann"


def test_a_tag_of_a_build_is_refused_to_others_by_name() -> None:
    caller().check_tag("1.0")
    with pytest.raises(RegistryError, match=r"ann may not write the tag 1\.0") as refused:
        caller(role=Role.BUILD).check_tag("1.0")
    assert refused.value.code == "DENIED"
    caller(role=Role.BUILD).check_tag("ann")
    with pytest.raises(RegistryError, match=f"anonymous may not write the tag {PRIVATE_PREFIX}7"):
        Caller(TokenScope(None), Rights((PUSHER,))).check_tag(f"{PRIVATE_PREFIX}7")


def test_who_pushes_is_asked_for_a_token_to_look_with_too() -> None:
    asked = [scope_of("a/b", action) for action in ("pull", "push", "delete")]

    assert asked == ["repository:a/b:pull", "repository:a/b:pull,push", "repository:a/b:delete"]


def test_scopes_come_in_several_parameters_or_in_one_and_no_more_than_a_hundred_count() -> None:
    assert asked_scopes(["a b", "c", " ", ""]) == ["a", "b", "c"]
    assert asked_scopes([]) == []
    assert asked_scopes([" ".join(map(str, range(60)))] * 2) == [*map(str, range(60)), *map(str, range(40))]


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("repository(plugin):a/b:pull,push", "repository:a/b:pull,push"),
        ("repository():a:pull", "repository():a:pull"),
        ("repository(a)(b):a:pull", "repository(a)(b):a:pull"),
        ("registry(x):catalog:*", "registry(x):catalog:*"),
        ("xrepository(plugin):a:pull", "xrepository(plugin):a:pull"),
    ],
)
def test_the_class_of_a_repository_makes_no_other_scope_of_it(asked: str, meant: str) -> None:
    assert asked_scopes([asked]) == [meant]


@pytest.mark.parametrize(
    ("method", "kind", "action", "scope"),
    [
        ("HEAD", Kind.BLOB, "pull", "repository:a/b:pull,push"),
        ("GET", Kind.BLOB, "pull", "repository:a/b:pull"),
        ("HEAD", Kind.MANIFEST, "pull", "repository:a/b:pull"),
        ("HEAD", Kind.BLOB, "delete", "repository:a/b:delete"),
        ("PUT", Kind.MANIFEST, "push", "repository:a/b:pull,push"),
    ],
)
def test_who_looks_for_a_blob_is_sent_for_a_token_that_pushes(method: str, kind: Kind, action: str, scope: str) -> None:
    assert scope_for(method, Address(kind, "a/b", "x"), action) == scope
