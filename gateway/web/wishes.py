"""What one request may choose for itself, over its client's key, its app and the settings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache

from tornado.httputil import HTTPHeaders

from gateway.client_keys import ClientKey
from gateway.dify_api.app import App, AppKey
from gateway.errors import InvalidRequest
from gateway.exchange.belonging import Belonging, conversation_id
from gateway.exchange.details import Details
from gateway.exchange.end_user import end_user
from gateway.exchange.hold_back import Moderation
from gateway.exchange.smoothing import Smoothing
from gateway.exchange.thoughts.reasoning import Reasoning
from gateway.exchange.turn import Turn
from gateway.idempotency.identity import KEY_HEADER, RETRY_COUNT_HEADER
from gateway.settings import Settings

CONVERSATION_HEADER = "x-dify-conversation-id"  # of requests and of answers

# As Tornado writes the names of those that came.
_CONVERSATION_HEADER = "X-Dify-Conversation-Id"
_MEMORY_HEADER, _SMOOTH_HEADER = "X-Conversation-Memory", "X-Smooth-Streaming"
_REASONING_HEADER, _DETAILS_HEADER = "X-Reasoning", "X-Dify-Details"
_MEMORY_WORDS = {"none": 0, "history": 1, "hidden": 2}


def choosing(headers: HTTPHeaders, settings: Settings) -> dict[str, str]:
    """Those headers of a request that choose something; most have none, and nobody has to look for each of them."""
    names = _choosing(settings.user_headers, settings.chat_id_headers)
    return {name: headers[name] for name in names.intersection(headers)}


@lru_cache(maxsize=8)  # settings change with a reload
def _choosing(user_headers: tuple[str, ...], chat_id_headers: tuple[str, ...]) -> frozenset[str]:
    own = (_CONVERSATION_HEADER, _MEMORY_HEADER, _SMOOTH_HEADER, _REASONING_HEADER, _DETAILS_HEADER)
    return frozenset((*own, KEY_HEADER, RETRY_COUNT_HEADER, *user_headers, *chat_id_headers))


def memory_mode(headers: Mapping[str, str], client: ClientKey, app: AppKey, settings: Settings) -> int:
    """The row of MEMORY_MODES for this request. Raises InvalidRequest for an unknown word in the header."""
    if (word := headers.get(_MEMORY_HEADER)) is not None:
        if (mode := _MEMORY_WORDS.get(word.strip().lower())) is None:
            raise _unknown(_MEMORY_HEADER, word, _MEMORY_WORDS)
        return mode
    if client.memory_mode is not None:
        return client.memory_mode
    return settings.conversation_memory_mode if app.memory_mode is None else app.memory_mode


def smoothing(headers: Mapping[str, str], client: ClientKey, app: AppKey, settings: Settings) -> Smoothing:
    """Whether this request's answer is to be paced. Raises InvalidRequest for an unknown word in the header."""
    if (word := headers.get(_SMOOTH_HEADER)) is not None:
        try:
            return Smoothing(word.strip().lower())
        except ValueError:
            raise _unknown(_SMOOTH_HEADER, word, Smoothing) from None
    return client.smoothing or app.smoothing or settings.smooth_streaming


def reasoning(headers: Mapping[str, str], client: ClientKey, app: AppKey, settings: Settings) -> Reasoning:
    """What becomes of the thoughts in this answer. Raises InvalidRequest for an unknown word in the header."""
    if (word := headers.get(_REASONING_HEADER)) is not None:
        try:
            return Reasoning(word.strip().lower())
        except ValueError:
            raise _unknown(_REASONING_HEADER, word, Reasoning) from None
    return client.reasoning or app.reasoning or settings.reasoning


def details(headers: Mapping[str, str], settings: Settings) -> Details:
    """How much of Dify's own this answer tells. Raises InvalidRequest for an unknown word in the header."""
    if (word := headers.get(_DETAILS_HEADER)) is not None:
        try:
            return Details(word.strip().lower())
        except ValueError:
            raise _unknown(_DETAILS_HEADER, word, Details) from None
    return settings.dify_details


def holds_back(app: App, settings: Settings) -> bool:
    """Whether this app's text waits until it is settled; one that is told to by its key need not tell of moderation."""
    if app.key.moderation is not None:
        return app.key.moderation is Moderation.BUFFER
    return app.moderated and settings.moderation is Moderation.BUFFER


def with_wishes(turn: Turn, headers: Mapping[str, str], client: ClientKey, app: App, settings: Settings) -> Turn:
    """What the turn asks beside its body. Raises InvalidRequest for an unknown word in a header."""
    turn = with_limit(turn, settings)
    thoughts, told = reasoning(headers, client, app.key, settings), details(headers, settings)
    held = holds_back(app, settings)
    if thoughts is turn.reasoning and told is turn.details and held is turn.hold_back:
        return turn
    return replace(turn, reasoning=thoughts, details=told, hold_back=held)


def with_limit(turn: Turn, settings: Settings) -> Turn:
    """The turn with its limit in characters, where the operator has said how many are a token."""
    if turn.max_tokens is None or not settings.characters_per_token:
        return turn
    ignored = tuple(name for name in turn.ignored if name not in ("max_tokens", "max_completion_tokens"))
    return replace(turn, max_characters=math.ceil(turn.max_tokens * settings.characters_per_token), ignored=ignored)


def belonging(
    headers: Mapping[str, str], client: ClientKey, app: AppKey, settings: Settings, turn: Turn, *, is_side_call: bool
) -> Belonging:
    """Whose turn this is, and in which conversation it goes on. Raises InvalidRequest for a header that is none."""
    named = named_user(turn.user, headers, settings)
    user = end_user(named, client.key)
    if is_side_call:  # no conversation but its own, nothing in its answer
        return Belonging(user, _MEMORY_WORDS["history"], is_side_call=True)
    return Belonging(
        user=user,
        memory_mode=memory_mode(headers, client, app, settings),
        conversation_id=turn.conversation_id or conversation_id(headers.get(_CONVERSATION_HEADER), CONVERSATION_HEADER),
        chat_id=_first_of(headers, settings.chat_id_headers),
    )


def named_user(written: str | None, headers: Mapping[str, str], settings: Settings) -> str | None:
    """The client's end user, as the request or a header names it; None: nobody is named."""
    return written or _first_of(headers, settings.user_headers)


def _first_of(headers: Mapping[str, str], names: Iterable[str]) -> str | None:
    """The first header of these that says something; a placeholder that a front end left as it was says nothing."""
    if not headers:  # as most requests choose nothing
        return None
    for name in names:
        if (value := headers.get(name, "").strip()) and not value.startswith("{{"):
            return value
    return None


def _unknown(header: str, word: str, known: Iterable[str]) -> InvalidRequest:
    words = ", ".join(known)
    return InvalidRequest(f"Invalid value for the header {header}: {word[:50]!r}; there are {words}.", param=header)
