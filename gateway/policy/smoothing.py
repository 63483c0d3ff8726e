"""Whether an answer's bursts are evened out: for people who read along, not for programs."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.exchange.smoothing import Smoothing

# What only chat front ends send: Open WebUI names chat and user, browsers name the page they are on.
_READER_PREFIXES = ("x-openwebui-",)
_READER_HEADERS = ("origin", "sec-fetch-mode")
# Node's fetch sends sec-fetch-mode, too; its user agent tells.
_BROWSER = "Mozilla/"


def is_paced(wanted: Smoothing, headers: Mapping[str, str]) -> bool:
    """Judge one streaming request by what it shows; `headers` are the client's, with any capitals."""
    if wanted is not Smoothing.AUTO:
        return wanted is Smoothing.ON
    names = {name.lower(): name for name in headers}
    if any(name.startswith(_READER_PREFIXES) for name in names):
        return True
    agent = headers[names["user-agent"]] if "user-agent" in names else ""
    return agent.startswith(_BROWSER) and any(name in names for name in _READER_HEADERS)
