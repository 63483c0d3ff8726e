"""A request's header wins over its client's key, that over the app, that over the settings."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tornado.httputil import HTTPHeaders

from gateway.client_keys import ClientKey
from gateway.dify_api.app import App, AppKey, AppMode
from gateway.errors import InvalidRequest
from gateway.exchange.belonging import Belonging
from gateway.exchange.details import Details
from gateway.exchange.end_user import end_user
from gateway.exchange.hold_back import Moderation
from gateway.exchange.smoothing import Smoothing
from gateway.exchange.thoughts.reasoning import Reasoning
from gateway.exchange.turn import Message, Role, Turn
from gateway.load_settings import load_settings
from gateway.web.wishes import (
    belonging,
    choosing,
    details,
    holds_back,
    memory_mode,
    reasoning,
    smoothing,
    with_limit,
    with_wishes,
)

SETTINGS = load_settings({"CONVERSATION_MEMORY_MODE": "2", "SMOOTH_STREAMING": "auto"})


def test_only_what_chooses_something_is_taken_from_the_headers() -> None:
    sent = HTTPHeaders({"accept": "*/*", "x-reasoning": "drop", "x-MY-user": "ann", "user-agent": "curl/8"})
    sent.add("X-Chat-Id", "c")
    sent.add("x-chat-id", "d")
    settings = load_settings({"USER_HEADERS": "x-my-USER"})
    assert choosing(sent, settings) == {"X-Reasoning": "drop", "X-My-User": "ann", "X-Chat-Id": "c,d"}
    assert choosing(HTTPHeaders({"X-My-User": "ann"}), SETTINGS) == {}


@pytest.mark.parametrize(
    "name",
    [
        *("x-conversation-memory", "x-smooth-streaming", "x-reasoning", "x-dify-details", "x-dify-conversation-id"),
        *("idempotency-key", "x-stainless-retry-count", "x-openwebui-chat-id", "x-openwebui-user-id", "x-user-id"),
    ],
)
def test_a_header_counts_however_its_name_is_written(name: str) -> None:
    assert list(choosing(HTTPHeaders({name: "1"}), SETTINGS).values()) == ["1"]


@pytest.mark.parametrize(
    ("header", "client", "app", "mode"),
    [
        (None, None, None, 2),
        (None, None, 0, 0),
        (None, 1, 0, 1),
        ("hidden", 1, 0, 2),
        (" None ", 1, 2, 0),
        ("history", None, None, 1),
        (None, 0, 2, 0),
    ],
)
def test_memory(header: str | None, client: int | None, app: int | None, mode: int) -> None:
    headers = {} if header is None else {"X-Conversation-Memory": header}
    key = AppKey("app-x", "http://dify/v1", memory_mode=app)
    assert memory_mode(headers, ClientKey("sk", memory_mode=client), key, SETTINGS) == mode


@pytest.mark.parametrize(
    ("header", "client", "app", "wanted"),
    [
        (None, None, None, Smoothing.AUTO),
        (None, None, Smoothing.OFF, Smoothing.OFF),
        (None, Smoothing.ON, Smoothing.OFF, Smoothing.ON),
        ("off", Smoothing.ON, Smoothing.ON, Smoothing.OFF),
    ],
)
def test_smoothing(header: str | None, client: Smoothing | None, app: Smoothing | None, wanted: Smoothing) -> None:
    headers = {} if header is None else {"X-Smooth-Streaming": header}
    key = AppKey("app-x", "http://dify/v1", smoothing=app)
    assert smoothing(headers, ClientKey("sk", smoothing=client), key, SETTINGS) is wanted


@pytest.mark.parametrize(
    ("header", "client", "app", "wanted"),
    [
        (None, None, None, Reasoning.FIELD),
        (None, None, Reasoning.DROP, Reasoning.DROP),
        (None, Reasoning.INLINE, Reasoning.DROP, Reasoning.INLINE),
        ("Drop", Reasoning.INLINE, Reasoning.FIELD, Reasoning.DROP),
    ],
)
def test_reasoning(header: str | None, client: Reasoning | None, app: Reasoning | None, wanted: Reasoning) -> None:
    headers = {} if header is None else {"X-Reasoning": header}
    key = AppKey("app-x", "http://dify/v1", reasoning=app)
    assert reasoning(headers, ClientKey("sk", reasoning=client), key, SETTINGS) is wanted


def test_a_limit_counts_where_the_operator_says_what_a_token_is() -> None:
    turn = Turn("m", (Message(Role.USER, "Hi"),), max_tokens=5, ignored=("temperature", "max_tokens"))
    assert with_limit(turn, SETTINGS) is turn
    limited = with_limit(turn, load_settings({"CHARACTERS_PER_TOKEN": "2.5"}))
    assert (limited.max_characters, limited.ignored) == (13, ("temperature",))
    boundless = replace(turn, max_tokens=None)
    assert with_limit(boundless, load_settings({"CHARACTERS_PER_TOKEN": "4"})) is boundless


def test_a_turn_is_as_its_request_wishes() -> None:
    turn, app = Turn("m", (Message(Role.USER, "Hi"),)), App(AppKey("app-x", "http://dify/v1"), "m", "m", AppMode.CHAT)
    assert with_wishes(turn, {}, ClientKey(""), app, SETTINGS) is turn
    held = load_settings({"MODERATION": "buffer"})
    headers = {"X-Reasoning": "drop", "X-Dify-Details": "on"}
    assert with_wishes(turn, headers, ClientKey(""), replace(app, moderated=True), held) == replace(
        turn, reasoning=Reasoning.DROP, details=Details.ON, hold_back=True
    )


def test_details() -> None:
    assert details({}, SETTINGS) is Details.OFF
    assert details({}, load_settings({"DIFY_DETAILS": "on"})) is Details.ON
    assert details({"X-Dify-Details": " Suggestions"}, SETTINGS) is Details.SUGGESTIONS


@pytest.mark.parametrize(
    ("setting", "app", "moderated", "held"),
    [
        ("stream", None, True, False),
        ("buffer", None, True, True),
        ("buffer", None, False, False),
        ("buffer", Moderation.STREAM, True, False),
        ("stream", Moderation.BUFFER, False, True),
    ],
)
def test_which_texts_are_held_back(setting: str, app: Moderation | None, moderated: bool, held: bool) -> None:
    key = AppKey("app-x", "http://dify/v1", moderation=app)
    found = App(key, "writer", "writer", AppMode.CHAT, moderated=moderated)
    assert holds_back(found, load_settings({"MODERATION": setting})) is held


def test_an_unknown_word_is_an_error_of_the_header() -> None:
    key = AppKey("app-x", "http://dify/v1")
    with pytest.raises(InvalidRequest) as caught:
        memory_mode({"X-Conversation-Memory": "forever"}, ClientKey(""), key, SETTINGS)
    assert caught.value.param == "X-Conversation-Memory"
    with pytest.raises(InvalidRequest) as caught:
        smoothing({"X-Smooth-Streaming": "very"}, ClientKey(""), key, SETTINGS)
    assert caught.value.param == "X-Smooth-Streaming"
    with pytest.raises(InvalidRequest) as caught:
        reasoning({"X-Reasoning": "loud"}, ClientKey(""), key, SETTINGS)
    assert caught.value.param == "X-Reasoning"
    with pytest.raises(InvalidRequest) as caught:
        details({"X-Dify-Details": "all"}, SETTINGS)
    assert caught.value.param == "X-Dify-Details"


# --- whose a turn is --------------------------------------------------------------------------------------------------

ID = "5f2c1b1e-8d0a-4c52-9f9e-0a7f6d3b2e1d"
OTHER_ID = "0b4a9a52-76a1-4bd6-8a3d-6a5a1f0c9e77"


def whose(headers: dict[str, str], *, is_side_call: bool = False, **asked: str) -> Belonging:
    turn = Turn("m", (Message(Role.USER, "Hi"),), **asked)  # type: ignore[arg-type]
    key = AppKey("app-x", "http://dify/v1")
    return belonging(headers, ClientKey("sk"), key, SETTINGS, turn, is_side_call=is_side_call)


NOBODY = end_user(None, "sk")


@pytest.mark.parametrize(
    ("headers", "asked", "belongs"),
    [
        ({}, {}, Belonging(NOBODY, 2)),
        ({"X-User-Id": "ann"}, {}, Belonging("ann", 2)),
        ({"X-User-Id": "ann", "X-Openwebui-User-Id": "7"}, {}, Belonging("7", 2)),
        ({"X-User-Id": "ann"}, {"user": "bob"}, Belonging("bob", 2)),
        ({"X-User-Id": "  "}, {}, Belonging(NOBODY, 2)),
        ({"X-User-Id": "{{LIBRECHAT_USER_ID}}"}, {}, Belonging(NOBODY, 2)),
        ({"X-Openwebui-Chat-Id": " c "}, {}, Belonging(NOBODY, 2, chat_id="c")),
        ({"X-Chat-Id": "b", "X-Conversation-Id": "{{x}}"}, {}, Belonging(NOBODY, 2, chat_id="b")),
        ({"X-Dify-Conversation-Id": ID}, {}, Belonging(NOBODY, 2, conversation_id=ID)),
        ({"X-Dify-Conversation-Id": ID}, {"conversation_id": OTHER_ID}, Belonging(NOBODY, 2, conversation_id=OTHER_ID)),
        ({"X-Dify-Conversation-Id": ""}, {}, Belonging(NOBODY, 2)),
        ({"X-Conversation-Memory": "none"}, {}, Belonging(NOBODY, 0)),
    ],
)
def test_a_turn_belongs_to_whom_the_request_names(
    headers: dict[str, str], asked: dict[str, str], belongs: Belonging
) -> None:
    assert whose(headers, **asked) == belongs


def test_a_side_call_belongs_to_a_person_and_to_no_chat() -> None:
    headers = {"X-User-Id": "ann", "X-Chat-Id": "c", "X-Dify-Conversation-Id": ID, "X-Conversation-Memory": "hidden"}
    assert whose(headers, is_side_call=True) == Belonging("ann", 1, is_side_call=True)


def test_a_header_that_names_no_conversation_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        whose({"X-Dify-Conversation-Id": "new"})
    assert refused.value.param == "x-dify-conversation-id"
