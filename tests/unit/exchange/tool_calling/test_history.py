"""Earlier calls and results, in words for a model that gets plain text."""

from __future__ import annotations

import pytest

from gateway.exchange.tool_calling.call_syntax import CallSyntax
from gateway.exchange.tool_calling.detector import CallBegins, CallDetector
from gateway.exchange.tool_calling.history import tell
from gateway.exchange.turn import Message, Role, ToolCall

SYNTAX = CallSyntax("x7")
ASK = Message(Role.USER, "How is it?")


def call(name: str = "weather", arguments: str = '{"city": "Oslo"}', call_id: str = "c1") -> Message:
    return Message(Role.ASSISTANT, "", tool_calls=(ToolCall(name, arguments, call_id),))


def result(text: str, call_id: str = "c1") -> Message:
    return Message(Role.TOOL, text, tool_call_id=call_id)


def words(*messages: Message, syntax: CallSyntax | None = SYNTAX) -> list[str]:
    return [message.told for message in tell(messages, syntax)]


def test_a_call_is_written_as_this_answers_calls_are() -> None:
    [text] = words(call())
    assert text == '<tool_call_x7>\n{"name":"weather","arguments":{"city":"Oslo"}}\n</tool_call_x7>'
    assert CallBegins("") in CallDetector(SYNTAX).feed(text)


def test_text_stays_in_front_of_calls_and_apart_from_words() -> None:
    calls = (ToolCall("a", "{}", "1"), ToolCall("b", "", "2"))
    [message] = tell([Message(Role.ASSISTANT, "Let me look.", tool_calls=calls)], SYNTAX)
    assert message.text == "Let me look."
    assert message.told.startswith("Let me look.\n<tool_call_x7>\n")
    assert message.told.count("<tool_call_x7>") == 2


def test_a_result_says_which_call_it_is_of() -> None:
    calls = Message(
        Role.ASSISTANT, "", tool_calls=(ToolCall("weather", '{"city":"Oslo"}', "c1"), ToolCall("clock", "", "c2"))
    )
    assert words(calls, result("9:00", "c2"), result("12 degrees"))[1:] == [
        "[result of clock()]\n9:00",
        '[result of weather({"city":"Oslo"})]\n12 degrees',
    ]


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (result("12", "unknown"), "[result of a tool]\n12"),
        (result(""), '[result of weather({"city": "Oslo"})]\n(nothing)'),
        (ASK, "How is it?"),
    ],
)
def test_what_a_message_is_told_as(message: Message, told: str) -> None:
    assert words(call(), message)[1] == told


def test_a_function_of_the_days_before_tools_has_no_id() -> None:
    assert words(call(call_id=""), result("12", ""))[1] == '[result of weather({"city": "Oslo"})]\n12'


def test_long_arguments_are_not_repeated() -> None:
    title = words(call(arguments="x" * 5000), result("ok"))[1]
    assert len(title) < 300
    assert title.endswith("…)]\nok")


def test_arguments_that_are_no_json_stay_as_they_are() -> None:
    assert '"arguments":"rm -rf"' in words(call(arguments="rm -rf"))[0]


def test_without_tools_a_call_is_only_mentioned() -> None:
    assert words(call(), syntax=None) == ['[called weather({"city": "Oslo"})]']
