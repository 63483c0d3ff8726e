"""Listening sockets that systemd has bound and hands over (sd_listen_fds(3)).

They stay open in systemd while the process restarts, so no client is refused.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping, Sequence

_FIRST = 3  # the descriptor behind standard error


def inherited_sockets(environ: Mapping[str, str], pid: int) -> list[socket.socket]:
    """The sockets meant for this process, ready to accept. Raises OSError for a descriptor that cannot."""
    try:
        if int(environ.get("LISTEN_PID", "0")) != pid:
            return []  # meant for the process that started this one
        count = int(environ.get("LISTEN_FDS", "0"))
    except ValueError:
        return []
    return [_listener(number) for number in range(_FIRST, _FIRST + count)]


def bound_settings(sockets: Sequence[socket.socket]) -> dict[str, str]:
    """SERVER_HOST and SERVER_PORT as the sockets have them, in an environment's words; of several the most public one,
    because who must have a key depends on it."""
    addresses = [one.getsockname()[:2] for one in sockets if one.family in (socket.AF_INET, socket.AF_INET6)]
    if not addresses:
        return {"SERVER_HOST": "localhost"} if sockets else {}  # a Unix socket is open to this machine alone
    host, port = min(addresses, key=lambda address: ipaddress.ip_address(address[0]).is_loopback)
    return {"SERVER_HOST": host, "SERVER_PORT": str(port)}


def _listener(number: int) -> socket.socket:
    one = socket.socket(fileno=number)
    if not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        one.close()
        raise OSError(f"descriptor {number} from systemd is no listening stream socket (Accept=yes?)")
    one.setblocking(False)
    one.set_inheritable(False)
    return one
