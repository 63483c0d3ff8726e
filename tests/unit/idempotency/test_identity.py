"""Which requests are the same, and that neither a key nor a prompt can be read from what says so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.errors import InvalidRequest
from gateway.exchange.belonging import Belonging
from gateway.exchange.turn import Message, Role, Turn
from gateway.idempotency.identity import Identity, identify

BELONGING = Belonging("client-1", 2)
TURN = Turn("Demo", (Message(Role.USER, "What is it?"),))


def identity(headers: dict[str, str] | None = None, **changes: Any) -> Identity:
    arguments: dict[str, Any] = {
        "headers": {"Idempotency-Key": "k1"} if headers is None else headers,
        "client_key": "sk-one",
        "endpoint": "chat.completions",
        "model": "Demo",
        "turn": TURN,
        "belonging": BELONGING,
        "body": b"{}",
    }
    found = identify(**{**arguments, **changes})
    assert found is not None
    return found


def test_most_requests_have_none() -> None:
    assert identify({}, "sk-one", "chat.completions", "Demo", TURN, BELONGING, b"{}") is None


def test_the_same_request_is_the_same() -> None:
    assert identity() == identity() == Identity(identity().name, identity().question, keyed=True, repeats=True)


@pytest.mark.parametrize(
    "change",
    [{"client_key": "sk-two"}, {"endpoint": "responses"}, {"model": "Other"}, {"headers": {"Idempotency-Key": "k2"}}],
)
def test_client_keys_endpoints_models_and_keys_stand_apart(change: dict[str, Any]) -> None:
    assert identity(**change).name != identity().name


@pytest.mark.parametrize("change", [{"stream": True}, {"include_usage": True}, {"model": "an older name"}])
def test_how_the_answer_is_wanted_makes_no_other_question(change: dict[str, Any]) -> None:
    assert identity(turn=replace(TURN, **change)) == identity()


@pytest.mark.parametrize(
    "change",
    [
        {"messages": (Message(Role.USER, "What is that?"),)},
        {"messages": (Message(Role.SYSTEM, "What is it?"),)},
        {"messages": (*TURN.messages, *TURN.messages)},
        {"inputs": {"name": "Ada"}},
        {"user": "ada"},
    ],
)
def test_what_dify_gets_makes_the_question(change: dict[str, Any]) -> None:
    other = identity(turn=replace(TURN, **change))
    assert (other.name, other.question) != (identity().name, identity().question)
    assert other.name == identity().name


@pytest.mark.parametrize(
    "change",
    [{"user": "ada"}, {"memory_mode": 0}, {"conversation_id": "5f2c"}, {"chat_id": "7"}, {"is_side_call": True}],
)
def test_where_the_turn_goes_on_makes_the_question(change: dict[str, Any]) -> None:
    other = replace(BELONGING, **change)
    assert identity(belonging=other).name == identity().name
    assert identity(belonging=other).question != identity().question
    retry = {"X-Stainless-Retry-Count": "1"}
    assert identity(retry, belonging=other).name != identity(retry).name


def test_the_body_is_nothing_to_a_key() -> None:
    assert identity(body=b"{ }") == identity()


@pytest.mark.parametrize("key", ["", " ", "a b", "a\tb", "x" * 256, "\u00e4", "\x7f", "a\n"])
def test_a_key_that_cannot_be_is_refused(key: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        identity({"Idempotency-Key": key})
    assert caught.value.param == "Idempotency-Key"
    assert "Idempotency-Key" in caught.value.message


@pytest.mark.parametrize("key", ["x", "x" * 255, '"quoted"', "!~", "8e03978e-40d5-43dd-bc93-6894a57f9324"])
def test_visible_characters_make_a_key(key: str) -> None:
    assert identity({"Idempotency-Key": key}).keyed


# --- SDKs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "repeats"), [("0", False), ("1", True), ("2", True), (" 0 ", False), ("", False)])
def test_an_sdks_first_attempt_repeats_nothing(count: str, repeats: bool) -> None:
    found = identity({"X-Stainless-Retry-Count": count})
    assert (found.keyed, found.repeats) == (False, repeats)


def test_an_sdks_retry_is_told_by_its_very_bytes() -> None:
    headers = {"X-Stainless-Retry-Count": "1"}
    assert identity(headers).name == identity({"X-Stainless-Retry-Count": "0"}).name
    assert identity(headers).name != identity(headers, body=b"{ }").name
    assert identity(headers).name != identity(headers, client_key="sk-two").name
    assert identity(headers).name != identity(headers, endpoint="responses").name


def test_a_key_outranks_the_count() -> None:
    assert identity({"Idempotency-Key": "k1", "X-Stainless-Retry-Count": "0"}) == identity()


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_only_digests_leave() -> None:
    assert all(
        len(part) == 64 and set(part) <= set("0123456789abcdef") for part in (identity().name, identity().question)
    )


def test_the_question_is_mixed_with_the_client_key() -> None:
    """Else whoever sees Redis could try out likely prompts."""
    assert identity(client_key="sk-two").question != identity().question


def test_parts_do_not_run_together() -> None:
    assert identity(client_key="ab", endpoint="c").name != identity(client_key="a", endpoint="bc").name


def test_any_text_has_a_digest() -> None:
    odd = replace(TURN, messages=(Message(Role.USER, "\ud800"),), user="\udcff")
    assert identity(turn=odd, client_key="\udcff").name
