"""Whether an answer's bursts are evened out: for people who read along, not for programs."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.exchange.smoothing import Smoothing

# What only chat front ends send: Open WebUI names chat and user, browsers name the page they are on.
_FRONT_END = "\nx-openwebui-"
_READER_HEADERS = ("\norigin\n", "\nsec-fetch-mode\n")
# Node's fetch sends sec-fetch-mode, too; its user agent tells.
_BROWSER = "Mozilla/"


def is_paced(wanted: Smoothing, headers: Mapping[str, str]) -> bool:
    """Judge one streaming request by what it shows; `headers` are the client's, with any capitals."""
    if wanted is not Smoothing.AUTO:
        return wanted is Smoothing.ON
    names = "\n".join(["", *headers, ""]).lower()
    if _FRONT_END in names:
        return True
    if not any(name in names for name in _READER_HEADERS):
        return False
    return any(name.lower() == "user-agent" and headers[name].startswith(_BROWSER) for name in headers)
