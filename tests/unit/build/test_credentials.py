from __future__ import annotations

import pytest

from lumper.build.credentials import check_given, with_entrusted
from lumper.build.port import BuildRequest, Login
from lumper.build.recipe.asked import Asked, RecipePlace
from lumper.errors import SecretMissing
from lumper.model.builds.secrets import GivenSecrets

ASKED = Asked(secrets={"token": "npm"}, ssh=("default",))


def test_the_engine_gets_secrets_by_the_ids_of_the_dockerfile_and_all_logins() -> None:
    given = GivenSecrets({"npm": b"x"}, {"default": b"key"}, {"docker.io": ("bot", "p")})
    check_given(ASKED, given, "owner/app", "refs/tags/v1")
    request = with_entrusted(
        BuildRequest("1", "a"), ASKED, given, Login("_build-1-1", "t"), ("127.0.0.1:5080", "r.example.org", "")
    )
    assert request.secrets == {"token": b"x"}
    assert list(request.ssh) == ["default"]
    assert request.logins == {
        "docker.io": Login("bot", "p"),
        "127.0.0.1:5080": Login("_build-1-1", "t"),
        "r.example.org": Login("_build-1-1", "t"),
    }


def test_nobody_can_put_another_login_in_the_place_of_the_attempts_own() -> None:
    given = GivenSecrets(logins={"r.example.org": ("mallory", "p")})
    request = with_entrusted(BuildRequest("1", "a"), Asked(), given, Login("own", "t"), ("r.example.org",))
    assert request.logins == {"r.example.org": Login("own", "t")}


def test_all_that_is_missing_is_named_with_the_command_that_helps() -> None:
    with pytest.raises(SecretMissing) as caught:
        check_given(ASKED, GivenSecrets(), "owner/app", "refs/tags/v1")
    assert "the secret npm, the ssh key default" in caught.value.message
    assert caught.value.hint == "lumper secret set owner/app npm < FILE"
    with pytest.raises(SecretMissing) as caught:
        check_given(Asked(ssh=("vendor",)), GivenSecrets(), "owner/app", "refs/tags/v1")
    assert caught.value.hint == "lumper secret ssh-key owner/app vendor < FILE"


def test_what_is_there_and_not_for_this_ref_is_told_apart() -> None:
    with pytest.raises(SecretMissing) as caught:
        check_given(ASKED, GivenSecrets(refused=frozenset({"npm"})), "owner/app", "refs/heads/wip")
    assert caught.value.message == "Builds of refs/heads/wip may not have the secret npm."
    assert "--branches" in caught.value.hint


def test_without_credentials_nothing_is_pushed_elsewhere() -> None:
    asked = Asked(push=(RecipePlace("r.example.com/team/app"),))
    check_given(asked, GivenSecrets(logins={"r.example.com": ("bot", "p")}), "owner/app", "refs/tags/v1")
    with pytest.raises(SecretMissing) as caught:
        check_given(asked, GivenSecrets(), "owner/app", "refs/tags/v1")
    assert caught.value.hint == "lumper secret login r.example.com --username NAME --project owner/app"


def test_the_agent_of_the_worker_does_for_keys_that_the_project_has_not_and_for_none_that_are_refused() -> None:
    asked = Asked(ssh=("default", "vendor"))
    check_given(asked, GivenSecrets(keys={"vendor": b"key"}), "owner/app", "refs/tags/v1", agent=True)
    with pytest.raises(SecretMissing, match="may not have the ssh key vendor"):
        check_given(asked, GivenSecrets(refused=frozenset({"vendor"})), "owner/app", "refs/heads/wip", agent=True)
    with pytest.raises(SecretMissing, match="the secret npm"):
        check_given(ASKED, GivenSecrets(), "owner/app", "refs/tags/v1", agent=True)
