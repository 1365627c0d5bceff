"""Which addresses git servers may have."""

from __future__ import annotations

import ipaddress

import pytest

from lumper.model.addresses import (
    AddressScope,
    Network,
    host_problem,
    on_loopback,
    place_of,
    registry_url,
)

PRIVATE = ipaddress.ip_address("10.1.2.3")
LOOPBACK = ipaddress.ip_address("127.0.0.1")
PUBLIC = ipaddress.ip_address("93.184.215.14")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("140.82.121.3", AddressScope.PUBLIC),
        ("2606:50c0:8000::64", AddressScope.PUBLIC),
        ("10.0.0.1", AddressScope.PRIVATE),
        ("172.17.0.1", AddressScope.PRIVATE),
        ("192.168.1.1", AddressScope.PRIVATE),
        ("100.64.0.1", AddressScope.PRIVATE),
        ("fd12::1", AddressScope.PRIVATE),
        ("127.0.0.1", AddressScope.LOOPBACK),
        ("127.8.9.1", AddressScope.LOOPBACK),
        ("::1", AddressScope.LOOPBACK),
        ("::ffff:127.0.0.1", AddressScope.LOOPBACK),
        ("64:ff9b::7f00:1", AddressScope.LOOPBACK),
        ("169.254.169.254", AddressScope.NEVER),
        ("::ffff:169.254.169.254", AddressScope.NEVER),
        ("64:ff9b::a9fe:a9fe", AddressScope.NEVER),
        ("2002:a9fe:a9fe::1", AddressScope.NEVER),
        ("fe80::1", AddressScope.NEVER),
        ("fd00:ec2::254", AddressScope.NEVER),
        ("100.100.100.200", AddressScope.NEVER),
        ("0.0.0.0", AddressScope.NEVER),
        ("0.1.2.3", AddressScope.NEVER),
        ("::", AddressScope.NEVER),
        ("224.0.0.1", AddressScope.NEVER),
        ("255.255.255.255", AddressScope.NEVER),
    ],
)
def test_an_address_leads_to_one_place_however_it_is_wrapped(text: str, place: AddressScope) -> None:
    assert place_of(ipaddress.ip_address(text)) is place


@pytest.mark.parametrize(
    "host",
    [
        *("0177.0.0.1", "2130706433", "0x7f000001", "127.1", "0x7f.1", "127.0.0.1.", "127.0.0.0x1", "1.2.3.4.5"),
        *("::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "fe80::1%eth0", "127%2e0%2e0%2e1", "①②⑦.0.0.1", "a b", "", "-x"),
        *("169.254.169.254", "0.0.0.0", "::"),
    ],
)
def test_hosts_that_are_written_strangely_or_are_never_right_are_refused(host: str) -> None:
    assert host_problem(host)


@pytest.mark.parametrize("host", ["git.example.org", "gitea", "192.168.1.10", "127.0.0.1", "::1", "xn--bcher-kva.de"])
def test_plain_hosts_are_fine(host: str) -> None:
    assert host_problem(host) == ""


def test_the_url_of_a_project_may_lead_to_private_networks_but_only_by_address_to_this_machine() -> None:
    network = Network()
    assert network.refusal("gitea.lan", 80, [PRIVATE], named=True) == ""
    assert network.refusal("127.0.0.1", 3000, [LOOPBACK], named=True) == ""
    assert network.refusal("localhost", 3000, [LOOPBACK], named=True) == ""
    assert "this machine" in network.refusal("rebind.example.org", 80, [LOOPBACK], named=True)


def test_what_the_project_does_not_name_may_lead_to_public_addresses_only() -> None:
    network = Network()
    assert network.refusal("cdn.example.org", 443, [PUBLIC], named=False) == ""
    assert "private" in network.refusal("cdn.example.org", 443, [PUBLIC, PRIVATE], named=False)
    assert "this machine" in network.refusal("127.0.0.1", 3000, [LOOPBACK], named=False)


def test_private_networks_can_be_closed_and_hosts_opened() -> None:
    network = Network(allow_private=False, allow_hosts=("*.corp.example.org", "10.1.0.0/16"))
    assert network.refusal("gitea.lan", 80, [ipaddress.ip_address("10.2.0.1")], named=True)
    assert network.refusal("127.0.0.1", 80, [LOOPBACK], named=True)
    assert network.refusal("gitea.lan", 80, [PRIVATE], named=False) == ""
    assert network.refusal("git.CORP.example.org.", 80, [LOOPBACK], named=False) == ""


def test_nothing_opens_metadata_services_or_the_ports_of_the_docker_engine() -> None:
    network = Network(allow_hosts=("*", "0.0.0.0/0", "::/0"))
    metadata = ipaddress.ip_address("169.254.169.254")
    assert network.refusal("git.example.org", 80, [PUBLIC, metadata], named=True)
    assert "Docker" in network.refusal("127.0.0.1", 2375, [LOOPBACK], named=True)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1:5000", True),
        ("127.1.2.3", True),
        ("localhost:5000", True),
        ("LOCALHOST.", True),
        ("::1", True),
        ("[::1]:5000", True),
        ("[::1]", True),
        ("registry.test", False),
        ("localhost.test:5000", False),
        ("10.0.0.1:5000", False),
        ("[fd00::1]:5000", False),
    ],
)
def test_a_registry_of_this_machine_needs_no_tls(host: str, local: bool) -> None:
    assert on_loopback(host) == local
    assert registry_url(host) == f"{'http' if local else 'https'}://{host}"
