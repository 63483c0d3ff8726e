"""Chats that the client names: what is asked, what is remembered here, and what Dify has to be asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from gateway.errors import InvalidRequest
from gateway.exchange.memory.comparison import PastTurn
from gateway.exchange.memory.hidden_id import HiddenId, HiddenThread
from gateway.exchange.memory.known_chats import KnownChats
from gateway.exchange.memory.named import NamedThread, recall_chat, recall_conversation
from gateway.exchange.memory.prompt_history import PromptHistory
from gateway.exchange.memory.thread import NEWEST, Outcome, Scope
from gateway.exchange.memory.zero_width import hide
from gateway.exchange.turn import Message, Prompt, Role, ToolCall, Turn

SYSTEM, USER, ASSISTANT, TOOL = Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL
CONVERSATION = "5f2c1b1e-8d0a-4c52-9f9e-0a7f6d3b2e1d"
OTHER = "0b4a9a52-76a1-4bd6-8a3d-6a5a1f0c9e77"
ASKED = [Message(USER, "My cat is Tom."), Message(ASSISTANT, "Nice."), Message(USER, "His name?")]
BRIEF = Message(SYSTEM, "Be brief.")


def turn(messages: Iterable[Message]) -> Turn:
    return Turn("m", tuple(messages))


def a_chat(known: KnownChats | None = None, **fields: object) -> Scope:
    return Scope("app-key", "ann-chat-1", is_chat=True, known=KnownChats() if known is None else known, **fields)  # type: ignore[arg-type]


def finish(thread: NamedThread, answer: str, conversation: str = CONVERSATION, message: str = "m-1") -> Message:
    thread.feed(answer)
    assert thread.tail(conversation, message) == ""
    return Message(ASSISTANT, answer)


# By Dify's own id -----------------------------------------------------------------------------------------------------

SCOPE = Scope("app-key", "ann")


def go_on(messages: Iterable[Message], scope: Scope = SCOPE) -> NamedThread:
    return recall_conversation(turn(messages), scope, CONVERSATION)


@pytest.mark.parametrize("history", [ASKED, ASKED[-1:], [Message(USER, "Edited."), *ASKED[1:]]])
def test_the_new_text_alone_is_asked_whatever_else_is_shown(history: list[Message]) -> None:
    thread = go_on(history)
    assert (thread.prompt, thread.user) == (Prompt("His name?", CONVERSATION), "ann")
    assert (thread.outcome, thread.last_message_id) == (Outcome.CONTINUED, None)


def test_hidden_characters_stay_here() -> None:
    assert go_on([Message(USER, f"His name?{hide(b'hidden')}")]).prompt.query == "His name?"


def test_a_conversation_that_is_gone_is_healed_with_what_the_client_shows() -> None:
    thread = go_on(ASKED).anew(Outcome.HEALED)
    assert (thread.prompt, thread.outcome) == (PromptHistory().fold(ASKED), Outcome.HEALED)


def test_with_nothing_new_to_ask_the_history_is_folded() -> None:
    thread = go_on(ASKED[:2])
    assert (thread.outcome, thread.prompt) == (Outcome.BRANCHED, PromptHistory().fold(ASKED[:2]))


def test_an_app_without_conversations_has_none_to_go_on_with() -> None:
    with pytest.raises(InvalidRequest) as refused:
        go_on(ASKED, replace(SCOPE, has_conversations=False))
    assert refused.value.param == "conversation_id"


def test_system_text_goes_first_unless_it_is_known_there() -> None:
    scope = replace(SCOPE, known=KnownChats())
    first = go_on([BRIEF, *ASKED], scope)
    assert first.prompt.query == "Be brief.\n\nHis name?"
    history = [BRIEF, *ASKED, finish(first, "Tom."), Message(USER, "Really?")]
    assert go_on(history, scope).prompt.query == "Really?"
    assert go_on(history, replace(scope, user="bob")).prompt.query == "Be brief.\n\nReally?"
    assert go_on([Message(SYSTEM, "Be long."), *history[1:]], scope).prompt.query == "Be long.\n\nReally?"


def test_a_hidden_token_tells_the_system_text_of_its_conversation() -> None:
    before = [BRIEF, Message(USER, "Hi")]
    hidden = HiddenId().recall(turn(before), SCOPE)
    hidden.feed("Hello")
    history = [*before, Message(ASSISTANT, "Hello" + hidden.tail(CONVERSATION, "m")), Message(USER, "On")]
    assert go_on(history).prompt.query == "On"
    assert recall_conversation(turn(history), SCOPE, OTHER).prompt.query == "Be brief.\n\nOn"


# By the front end's id ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "outcome"),
    [(ASKED[:1], Outcome.STARTED), ([BRIEF, *ASKED[:1]], Outcome.STARTED), (ASKED[::2], Outcome.FOLDED)],
)
def test_a_client_that_shows_no_answer_begins(messages: list[Message], outcome: Outcome) -> None:
    known = KnownChats()
    finish(recall_chat(turn(ASKED[:1]), a_chat(known)), "Nice.")
    thread = recall_chat(turn(messages), a_chat(known))
    assert (thread.lookup, thread.outcome, thread.prompt) == (None, outcome, PromptHistory().fold(messages))


def test_what_was_answered_here_goes_on_without_a_question_to_dify() -> None:
    known = KnownChats()
    history = [BRIEF, *ASKED[:1]]
    history.append(finish(recall_chat(turn(history), a_chat(known)), "Nice."))
    history.append(Message(USER, "His name?"))
    thread = recall_chat(turn(history), a_chat(known))
    assert (thread.lookup, thread.last_message_id) == (None, "m-1")
    assert (thread.outcome, thread.prompt) == (Outcome.CONTINUED, Prompt("His name?", CONVERSATION))
    changed = recall_chat(turn([Message(SYSTEM, "Be long."), *history[1:]]), a_chat(known))
    assert changed.prompt == Prompt("Be long.\n\nHis name?", CONVERSATION)
    history += [finish(thread, '{"name": "Tom"}', message="m-2"), Message(USER, "Good.")]
    assert recall_chat(turn(history), a_chat(known)).last_message_id == "m-2"  # JSON, too


UNKNOWN = {
    "another node's": [],
    "edited": [Message(USER, "My cat is Kit."), Message(ASSISTANT, "Nice.")],
    "shortened": ASKED[:2],
}


@pytest.mark.parametrize("before", UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_not_known_here_dify_is_asked_for(before: list[Message]) -> None:
    known = KnownChats()
    if before:
        finish(recall_chat(turn([*before, *ASKED[2:]]), a_chat(known)), "Tom.")
    thread = recall_chat(turn(ASKED), a_chat(known))
    assert thread.lookup == NEWEST
    assert (thread.outcome, thread.prompt) == (Outcome.FOLDED, PromptHistory().fold(ASKED))


def unsettled(history: list[Message] = ASKED, **fields: object) -> HiddenThread:
    thread = recall_chat(turn(history), a_chat(**fields))  # type: ignore[arg-type]
    assert thread.lookup == NEWEST
    return thread


PAST = [PastTurn("My cat is Tom.", "Nice.")]


def test_a_conversation_that_holds_what_is_shown_goes_on() -> None:
    thread = unsettled().found(CONVERSATION, PAST, is_all=True)
    assert (thread.outcome, thread.prompt) == (Outcome.CONTINUED, Prompt("His name?", CONVERSATION))
    assert thread.lookup is None


@pytest.mark.parametrize("past", [[], [PastTurn("My cat is Kit.", "Nice.")], [*PAST, PastTurn("His name?", "Tom.")]])
def test_one_that_holds_something_else_is_left(past: list[PastTurn]) -> None:
    thread = unsettled().found(CONVERSATION, past, is_all=True)
    assert (thread.outcome, thread.prompt) == (Outcome.BRANCHED, PromptHistory().fold(ASKED))
    assert unsettled().found(CONVERSATION, None, is_all=False).prompt.conversation_id == CONVERSATION


def test_system_text_goes_first_unless_it_was_told_there() -> None:
    told = [PastTurn("Be brief.\n\nMy cat is Tom.", "Nice.")]
    assert unsettled([BRIEF, *ASKED]).found(CONVERSATION, told, is_all=True).prompt.query == "His name?"
    assert unsettled([BRIEF, *ASKED]).found(CONVERSATION, PAST, is_all=True).prompt.query == "Be brief.\n\nHis name?"


def test_a_question_whose_begin_was_cut_off_is_another_one() -> None:
    longer = [PastTurn("It is a secret. My cat is Tom.", "Nice.")]
    assert unsettled().found(CONVERSATION, longer, is_all=True).outcome is Outcome.BRANCHED
    looked_up = "### Task:\nRespond to the user query using the provided context.\n<context>\nx\n</context>\n\n"
    thread = unsettled().found(CONVERSATION, [PastTurn(looked_up + "My cat is Tom.", "Nice.")], is_all=True)
    assert thread.prompt == Prompt("His name?", CONVERSATION)


def test_what_a_conversation_is_pinned_to_dify_does_not_tell() -> None:
    assert unsettled(pinned="Be brief.").found(CONVERSATION, PAST, is_all=True).outcome is Outcome.BRANCHED


def test_a_conversation_is_pinned() -> None:
    known = KnownChats()
    finish(recall_chat(turn(ASKED[:1]), a_chat(known, pinned="Be brief.")), "Nice.")
    assert recall_chat(turn(ASKED), a_chat(known, pinned="Be brief.")).outcome is Outcome.CONTINUED
    assert recall_chat(turn(ASKED), a_chat(known, pinned="Be long.")).lookup


def test_chats_and_apps_do_not_mix() -> None:
    known = KnownChats()
    finish(recall_chat(turn(ASKED[:1]), a_chat(known)), "Nice.")
    for other in (replace(a_chat(known), user="ann-chat-2"), replace(a_chat(known), app_key="app-other")):
        assert recall_chat(turn(ASKED), other).lookup


def test_the_ids_of_calls_tell_another_node_what_was_answered() -> None:
    asked = [BRIEF, *ASKED[:1]]
    ids = (recall_chat(turn(asked), a_chat()).call_id(CONVERSATION, "m-1", 0),)
    called = replace(ASKED[1], tool_calls=tuple(ToolCall("vet", "{}", one) for one in ids if one))
    thread = recall_chat(turn([*asked, called, Message(TOOL, "He is well.")]), a_chat())
    assert (thread.lookup, thread.last_message_id) == (None, "m-1")
    assert thread.prompt == Prompt("He is well.", CONVERSATION)
    edited = [Message(USER, "My cat is Kit."), called, Message(TOOL, "He is well.")]
    assert recall_chat(turn(edited), a_chat()).lookup


def test_without_any_text_there_is_no_query() -> None:
    for ask in (lambda: recall_chat(turn([Message(USER, " ")]), a_chat()), lambda: go_on([Message(USER, " ")])):
        with pytest.raises(InvalidRequest):
            ask()
