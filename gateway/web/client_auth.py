"""Bearer key → client. Who may use the gateway at all."""

from __future__ import annotations

import hmac

from gateway.client_keys import ClientKey
from gateway.errors import InvalidClientKey
from gateway.settings import Settings


def client_key(authorization: str | None, settings: Settings) -> ClientKey:
    """The client's key. Raises InvalidClientKey unless it is one of VALID_API_KEYS, or none are configured."""
    scheme, _, given = (authorization or "").partition(" ")
    given = given.strip() if scheme.lower() == "bearer" else ""
    if not settings.valid_api_keys:
        return ClientKey(given)
    if not given:
        raise InvalidClientKey(
            "You didn't provide an API key. Send it in an Authorization header: Authorization: Bearer YOUR_KEY.",
            code="missing_api_key",
        )
    offered = given.encode("utf-8", "surrogateescape")
    # All keys are compared, each in constant time, so that the time tells neither a key nor its place.
    matches = [key for key in settings.valid_api_keys if hmac.compare_digest(offered, key.key.encode())]
    if not matches:
        raise InvalidClientKey("Incorrect API key provided.")
    return matches[0]
