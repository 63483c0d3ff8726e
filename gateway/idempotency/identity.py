"""Which requests are one and the same: by the key that their client names, or by an SDK's count of its retries."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace

from gateway.errors import InvalidRequest
from gateway.exchange.belonging import Belonging
from gateway.exchange.details import Details
from gateway.exchange.turn import Turn
from gateway.frozen import frozen

KEY_HEADER = "Idempotency-Key"
RETRY_COUNT_HEADER = "X-Stainless-Retry-Count"  # of every request of the official SDKs: 0, then 1, 2 …

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@frozen
class Identity:
    """What makes a request the same as another one. Digests only: neither a key nor a word of the prompt."""

    name: str  # two requests of one name are meant to be one
    question: str  # … and may be, if they ask the same
    keyed: bool  # whether the client has named a key
    repeats: bool  # whether it may join an earlier one


def identify(
    headers: Mapping[str, str],
    client_key: str,
    endpoint: str,
    model: str,
    turn: Turn,
    belonging: Belonging,
    body: bytes,
) -> Identity | None:
    """Who this request is; None: it has nothing in common with any other. Raises InvalidRequest for a bad key.

    A client key, an endpoint and a model have their keys to themselves, so nobody reaches somebody else's answer.
    """
    if (key := headers.get(KEY_HEADER)) is not None:
        if not _KEY.fullmatch(key):
            raise InvalidRequest(f"{KEY_HEADER} must be 1 to 255 visible ASCII characters.", param=KEY_HEADER)
        # All that Dify could get; how a client wants its answer back is its own affair.
        question = repr(
            replace(
                turn, model=model, stream=False, include_usage=False, max_tokens=None, ignored=(), details=Details.OFF
            )
        )
        name = _digest("key", client_key, endpoint, model, key)
        return Identity(name, _digest(client_key, question, repr(belonging)), keyed=True, repeats=True)
    if (retries := headers.get(RETRY_COUNT_HEADER)) is not None:
        # An SDK names no key by itself, so only the very same bytes can be a retry, and a first attempt is none.
        name = _digest("retry", client_key, endpoint, repr(belonging), body)
        return Identity(name, name, keyed=False, repeats=retries.strip() not in ("", "0"))
    return None


def _digest(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data))  # so that no two lists of parts run together to the same bytes
        digest.update(data)
    return digest.hexdigest()
