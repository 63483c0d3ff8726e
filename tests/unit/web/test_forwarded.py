"""Whom the gateway believes, and what."""

from __future__ import annotations

import re
from ipaddress import ip_network

import pytest

from gateway.web.forwarded import _ip_address, client_address, is_trusted, request_id

PROXIES = (ip_network("10.0.0.0/8"), ip_network("127.0.0.1"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("127.0.0.1", True),
        ("127.0.0.2", False),
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),  # a socket that listens on both families
        ("fd00::1", True),
        ("192.0.2.1", False),
        ("", False),  # a Unix socket
        ("10.1.2.3, 10.1.2.4", False),
    ],
)
def test_a_proxy_is_known_by_its_address(address: str, trusted: bool) -> None:
    assert is_trusted(address, PROXIES) is trusted
    assert not is_trusted(address, ())


def test_the_balancers_request_id_is_kept() -> None:
    assert request_id("10.0.0.1", {"X-Request-ID": "9f5c-0001.a_B"}, PROXIES) == "9f5c-0001.a_B"


@pytest.mark.parametrize(
    ("peer", "given"),
    [
        ("192.0.2.1", "9f5c-0001"),
        ("10.0.0.1", ""),
        ("10.0.0.1", "short"),
        ("10.0.0.1", "x" * 65),
        ("10.0.0.1", "two ids, joined"),
        ("10.0.0.1", "line\nbreak-1"),
        ("10.0.0.1", "ünicode-123"),
    ],
)
def test_any_other_is_replaced(peer: str, given: str) -> None:
    made = {request_id(peer, {"X-Request-ID": given}, PROXIES) for _ in range(2)}
    assert len(made) == 2
    assert all(re.fullmatch("req_[0-9a-f]{24}", one) for one in made)


@pytest.mark.parametrize(
    ("peer", "chain", "client"),
    [
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),  # no proxy of ours: its word counts for nothing
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "198.51.100.7, 10.0.0.2", "198.51.100.7"),  # two of ours
        ("10.0.0.1", "1.1.1.1, 198.51.100.7, 10.0.0.2", "198.51.100.7"),  # the first one is invented
        ("10.0.0.1", "2001:db8::7", "2001:db8::7"),
        ("10.0.0.1", "10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7, <script>, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "198.51.100.7," * 50_000 + "10.0.0.2", "198.51.100.7"),
    ],
)
def test_the_client_is_whom_the_last_proxy_of_ours_saw(peer: str, chain: str, client: str) -> None:
    assert client_address(peer, {"X-Forwarded-For": chain}, PROXIES) == client


def test_what_is_no_address_is_not_remembered() -> None:
    before = _ip_address.cache_info().currsize
    for number in range(5):
        client_address("10.0.0.1", {"X-Forwarded-For": f"invented {number}"}, PROXIES)
    assert _ip_address.cache_info().currsize <= before + 1  # the proxy's


def test_an_address_is_read_the_same_again() -> None:
    chain = {"X-Forwarded-For": "2001:DB8::7, ::ffff:10.0.0.2"}
    assert [client_address("10.0.0.1", chain, PROXIES) for _ in range(3)] == ["2001:db8::7"] * 3
