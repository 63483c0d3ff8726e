from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.exchange.memory.prompt_history import PromptHistory
from gateway.exchange.turn import Message, Role, Turn

SYSTEM, USER, ASSISTANT, TOOL = Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL


def query(*messages: tuple[Role, str]) -> str:
    return PromptHistory().recall(Turn("m", tuple(Message(role, text) for role, text in messages))).query


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
    assert asked.endswith("</assistant>\n\nGo on with this result of the tool:\n3 C")


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
    spoken = [message for message in messages if message.text.strip()]
    if not spoken:
        return
    made = PromptHistory().recall(Turn("m", tuple(messages))).query
    place = 0
    for message in sorted(spoken, key=lambda message: message.role is not SYSTEM):  # system text first
        place = made.index(message.text, place) + len(message.text)
