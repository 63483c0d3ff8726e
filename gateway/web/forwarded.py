"""What a load balancer says of a request: believed only where the peer itself is a configured one.

Anybody can write X-Forwarded-For and X-Request-ID, so they count for nothing unless who connects is in TRUSTED_PROXIES.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network

Networks = Sequence[IPv4Network | IPv6Network]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")  # it goes into headers, logs and exemplars
_LONGEST_CHAIN = 20  # proxies that one request may have come through

# A proxy comes with every request and a client again and again; what is no address raises, and is not kept.
_ip_address = lru_cache(maxsize=256)(ipaddress.ip_address)


def is_trusted(address: str, proxies: Networks) -> bool:
    """Whether this is the address of a configured proxy; a Unix socket has none."""
    if not proxies:
        return False
    try:
        parsed = _ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in proxies)


def request_id(peer: str, headers: Mapping[str, str], proxies: Networks) -> str:
    """The balancer's id of this request, so that one search finds it in both logs; else a new one."""
    if is_trusted(peer, proxies) and _REQUEST_ID.fullmatch(given := headers.get("X-Request-ID", "")):
        return given
    return f"req_{os.urandom(12).hex()}"


def client_address(peer: str, headers: Mapping[str, str], proxies: Networks) -> str:
    """Who has asked: the last address in the chain that is no proxy of ours.

    Each proxy appends whom it sees, so what stands further left may be the client's invention.
    """
    address = peer
    if not proxies or "X-Forwarded-For" not in headers:
        return address
    for hop in reversed(headers["X-Forwarded-For"].split(",")[-_LONGEST_CHAIN:]):
        if not is_trusted(address, proxies):
            break
        try:
            address = str(_ip_address(hop.strip()))
        except ValueError:
            break
    return address
