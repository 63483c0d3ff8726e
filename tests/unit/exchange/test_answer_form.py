"""What stands in front of a query, and what becomes of calls in a history."""

from __future__ import annotations

from dataclasses import replace

from gateway.exchange.answer_form import instructed, with_words
from gateway.exchange.tool_calling.call_syntax import CallSyntax
from gateway.exchange.turn import Message, Prompt, ResponseFormat, Role, ToolCall, ToolChoice, ToolSpec, Turn

SYNTAX = CallSyntax("x7")
TOOLS = ToolChoice((ToolSpec("clock"),))
ASK = Message(Role.USER, "Hi")
TURN = Turn("app", (ASK,))
CALLED = replace(TURN, messages=(ASK, Message(Role.ASSISTANT, "", tool_calls=(ToolCall("clock", "{}", "1"),))))


def query(turn: Turn) -> str:
    prompt = instructed(Prompt("Hi", "conversation 1"), turn, SYNTAX)
    assert prompt.conversation_id == "conversation 1"
    return prompt.query


def test_a_turn_that_wants_prose_is_asked_as_it_is() -> None:
    assert query(TURN) == "Hi"
    assert with_words(TURN, SYNTAX) is TURN


def test_instructions_stand_in_front() -> None:
    text = query(replace(TURN, tool_choice=TOOLS))
    assert text.startswith("You can call the tools below.")
    assert text.endswith("\n\nHi")


def test_a_format_is_told_with_tools_only_where_text_may_come() -> None:
    wanted = replace(TURN, response_format=ResponseFormat())
    assert query(wanted).startswith("Answer with one JSON object")
    both = query(replace(wanted, tool_choice=TOOLS))
    assert both.index("You can call") < both.index("If you call no tool: Answer with one JSON")
    assert "JSON object and nothing else" not in query(replace(wanted, tool_choice=replace(TOOLS, required=True)))


def test_earlier_calls_are_told_in_the_tags_of_this_answer() -> None:
    assert "<tool_call_x7>" in with_words(replace(CALLED, tool_choice=TOOLS), SYNTAX).messages[1].told
    assert with_words(CALLED, SYNTAX).messages[1].told == "[called clock({})]"


def test_a_result_alone_is_told_too() -> None:
    alone = replace(TURN, messages=(Message(Role.TOOL, "12"),))
    assert with_words(alone, SYNTAX).messages[0].told == "[result of a tool]\n12"
