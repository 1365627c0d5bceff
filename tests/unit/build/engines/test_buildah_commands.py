from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lumper.build.engines.buildah.ability import Ability, Isolation
from lumper.build.engines.buildah.commands import Shop, build_arguments, push_arguments
from lumper.build.engines.programs.logins import auth_file
from lumper.build.port import BuildRequest, Capability, Limits, Login

SHOP = Shop(Path("/w/context"), Path("/w/context/Dockerfile"), Path("/m/ignore"), Path("/m/auth.json"), {})
OCI = Ability("1.28.2", "linux/amd64", Isolation("oci", "/usr/bin/runc"))
CHROOT = Ability("1.28.2", "linux/amd64", Isolation("chroot"))
REQUEST = BuildRequest("1-1", "registry.test/app:1")


def arguments(ability: Ability = OCI, shop: Shop = SHOP, **more: object) -> list[str]:
    return build_arguments(replace(REQUEST, **more), shop, ability)  # type: ignore[arg-type]


def test_no_value_can_be_taken_for_an_option() -> None:
    evil = "--root=/"
    shop = replace(SHOP, secrets={evil: Path("/m/secret-0")})
    made = arguments(
        shop=shop, args={evil: evil}, labels={evil: evil}, target=evil, image=evil, ssh={evil: "/s"}, network=evil
    )

    assert made[-2:] == ["--", "/w/context"]
    assert evil not in made
    assert f"--build-arg={evil}={evil}" in made
    assert f"--tag={evil}" in made


def test_secrets_and_passwords_are_in_no_argument() -> None:
    login = {"registry.test": Login("ada", "geheim")}
    made = arguments(shop=replace(SHOP, secrets={"t": Path("/m/secret-0")}), secrets={"t": b"geheim"}, logins=login)

    assert "--secret=id=t,src=/m/secret-0" in made
    assert "geheim" not in repr(made)
    assert json.loads(auth_file(login)) == {"auths": {"registry.test": {"auth": "YWRhOmdlaGVpbQ=="}}}


def test_limits_become_those_of_the_kernel() -> None:
    made = arguments(limits=Limits(memory=1 << 20, cpus=1.5))

    assert {"--memory=1048576b", "--memory-swap=1048576b", "--cpu-period=100000", "--cpu-quota=150000"} <= set(made)
    assert not [one for one in arguments() if one.startswith(("--memory", "--cpu"))]


def test_several_platforms_have_a_list_and_one_has_an_image() -> None:
    several = arguments(platforms=("linux/amd64", "linux/arm64"))
    assert {"--platform=linux/amd64,linux/arm64", "--manifest=registry.test/app:1"} <= set(several)
    assert "--tag=registry.test/app:1" not in several
    assert {"--platform=linux/arm64", "--tag=registry.test/app:1"} <= set(arguments(platforms=("linux/arm64",)))


def test_times_are_rewritten_only_if_asked_and_known() -> None:
    epoch = {"SOURCE_DATE_EPOCH": "1700000000"}
    assert "--timestamp=1700000000" in arguments(rewrite_timestamp=True, args=epoch)
    assert not any(one.startswith("--timestamp") for one in arguments(args=epoch))
    assert not any(
        one.startswith("--timestamp") for one in arguments(rewrite_timestamp=True, args={"SOURCE_DATE_EPOCH": "now"})
    )


def test_a_step_gets_the_network_that_was_found_or_the_one_that_was_asked_for() -> None:
    shared = replace(OCI, isolation=Isolation("oci", "/usr/bin/runc", "host"))
    assert not any(one.startswith("--network") for one in arguments())
    assert "--network=none" in arguments(network="none")
    assert "--network=host" in arguments(shared)
    assert "--network=none" in arguments(shared, network="none")


def test_without_containers_there_are_neither_limits_nor_networks_of_ones_own() -> None:
    lost = OCI.capabilities - CHROOT.capabilities
    assert lost == {Capability.LIMITS, Capability.NETWORK_NONE}
    assert "chroot" in CHROOT.note
    assert OCI.note == ""


@pytest.mark.parametrize(
    ("image", "local"),
    [
        ("127.0.0.1:5000/app:1", True),
        ("127.1.2.3/app:1", True),
        ("localhost:5000/app:1", True),
        ("[::1]:5000/app:1", True),
        ("[::1]/app:1", True),
        ("registry.test/app:1", False),
        ("localhost.test:5000/app:1", False),
        ("10.0.0.1:5000/app:1", False),
    ],
)
def test_only_a_registry_on_this_machine_may_do_without_tls(image: str, local: bool) -> None:
    made = push_arguments(image, several=False, auth=Path("/a"), digest=Path("/d"))

    assert ("--tls-verify=false" in made) == local
    assert made[-3:] == ["--", image, f"docker://{image}"]


def test_limits_are_among_what_it_can_only_where_the_kernel_lets_this_user_set_them() -> None:
    assert {Capability.LIMITS, Capability.NETWORK_NONE} <= OCI.capabilities
    user = replace(OCI, limits=False).capabilities
    assert Capability.LIMITS not in user
    assert Capability.NETWORK_NONE in user
    assert not {Capability.LIMITS, Capability.NETWORK_NONE} & CHROOT.capabilities
