from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.exchange.attachment import Attachment, FileKind, InlineFile
from gateway.exchange.memory import zero_width
from gateway.exchange.memory.prompt_history import PromptHistory
from gateway.exchange.memory.thread import Outcome, Scope, Thread
from gateway.exchange.turn import Message, Prompt, Role, Turn

SYSTEM, USER, ASSISTANT, TOOL = Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL


def recall(*messages: tuple[Role, str]) -> Thread:
    turn = Turn("m", tuple(Message(role, text) for role, text in messages))
    return PromptHistory().recall(turn, Scope("app-key", "ann"))


def query(*messages: tuple[Role, str]) -> str:
    return recall(*messages).prompt.query


def test_the_history_is_marked_by_role_and_the_question_stands_bare_at_the_end() -> None:
    asked = query((SYSTEM, "Be brief."), (USER, "I am Ann.\nHello!"), (ASSISTANT, "Hi Ann."), (USER, "Who am I?"))
    assert asked == (
        "Be brief.\n\n"
        "The conversation so far:\n"
        "<user>\nI am Ann.\nHello!\n</user>\n"
        "<assistant>\nHi Ann.\n</assistant>\n\n"
        "Reply to the user's next message:\nWho am I?"
    )


def test_a_tool_result_at_the_end_is_what_to_go_on_with() -> None:
    asked = query((USER, "Weather?"), (ASSISTANT, "I call weather."), (TOOL, "3 C"))
    assert asked.endswith("</assistant>\n\nGo on with what the tools gave:\n3 C")


def test_results_of_calls_that_were_made_at_once_stay_together() -> None:
    asked = query((USER, "Weather?"), (ASSISTANT, "I call weather, twice."), (TOOL, "3 C"), (TOOL, "9 C"))
    assert asked.endswith("twice.\n</assistant>\n\nGo on with what the tools gave:\n3 C\n9 C")
    assert query((TOOL, "3 C"), (TOOL, "9 C")) == "Go on with what the tools gave:\n3 C\n9 C"


def test_an_answer_at_the_end_is_history_to_go_on_from() -> None:
    asked = query((USER, "Tell a tale."), (ASSISTANT, "Once upon"))
    assert asked == (
        "The conversation so far:\n"
        "<user>\nTell a tale.\n</user>\n"
        "<assistant>\nOnce upon\n</assistant>\n\n"
        "Go on from where the assistant stopped."
    )


def test_messages_without_text_leave_no_trace() -> None:
    assert query((USER, "one"), (ASSISTANT, ""), (USER, " ")) == "one"


@given(st.lists(st.builds(Message, st.sampled_from(Role), st.text(min_size=1)), min_size=1, max_size=8))
def test_no_text_is_lost_and_the_order_stays(messages: list[Message]) -> None:
    seen = [Message(message.role, zero_width.strip(message.text)) for message in messages]
    spoken = [message for message in seen if message.text.strip()]
    if not spoken:
        return
    made = query(*((message.role, message.text) for message in messages))
    place = 0
    for message in sorted(spoken, key=lambda message: message.role is not SYSTEM):  # system text first
        place = made.index(message.text, place) + len(message.text)


@pytest.mark.parametrize("role", Role)
def test_a_lone_message_stands_bare_and_its_files_are_sent_along(role: Role) -> None:
    file = Attachment("p", InlineFile(b"png"), FileKind.IMAGE)
    alone = PromptHistory().fold([Message(role, "one", (file,))])
    assert alone == Prompt("one", None, () if role is ASSISTANT else (file,))
    with_nothing = PromptHistory().fold([Message(SYSTEM, ""), Message(role, "one", (file,)), Message(USER, "")])
    assert with_nothing == alone


def test_the_history_is_in_the_query_and_nowhere_else() -> None:
    thread = recall((USER, "one"), (ASSISTANT, "1"), (USER, "two"))
    assert (thread.user, thread.outcome, thread.prompt.conversation_id) == ("ann", Outcome.FOLDED, None)
    thread.feed("2")
    assert thread.tail("c", "m") == ""


def test_what_is_hidden_is_not_sent() -> None:
    hidden = zero_width.hide(b"token")
    asked = query((SYSTEM, f"s{hidden}"), (USER, "one"), (ASSISTANT, f"1{hidden}"), (ASSISTANT, hidden), (USER, "two"))
    assert asked == query((SYSTEM, "s"), (USER, "one"), (ASSISTANT, "1"), (USER, "two"))
    with pytest.raises(InvalidRequest):
        query((USER, hidden))
