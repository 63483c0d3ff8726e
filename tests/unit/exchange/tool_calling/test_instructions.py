"""What a model is told of tools."""

from __future__ import annotations

import json

import pytest

from gateway.exchange.tool_calling.detector import CallDetector, CallText
from gateway.exchange.tool_calling.instructions import ask_again, instruct
from gateway.exchange.turn import JSONValue, ToolChoice, ToolSpec
from tests.unit.exchange.tool_calling.corpus import SYNTAX, TOOLS

ANY = ToolChoice(TOOLS)


def test_every_tool_is_described_on_a_line_of_its_own() -> None:
    text = instruct(ToolChoice((*TOOLS, ToolSpec("odd", "Line\nbreak", {}))), SYNTAX)
    described = [json.loads(line) for line in text.partition("\nTools:\n")[2].splitlines()]
    assert [tool["name"] for tool in described] == ["weather", "clock", "write_file", "odd"]
    assert described[0]["parameters"] == TOOLS[0].parameters
    assert described[1] == {"name": "clock", "parameters": {"type": "object", "properties": {}}}


def test_what_only_validators_need_costs_no_tokens() -> None:
    draft: dict[str, JSONValue] = {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}
    text = instruct(ToolChoice((ToolSpec("odd", "", draft),)), SYNTAX)
    assert text.endswith('{"name":"odd","parameters":{"type":"object"}}')


@pytest.mark.parametrize(
    ("choice", "says", "says_not"),
    [
        (ANY, ["answer as usual", "several tools at once", "not those of earlier messages"], ["must be answered"]),
        (ToolChoice(TOOLS, required=True), ["must be answered by a call,"], ["as usual"]),
        (ToolChoice(TOOLS[:1], required=True), ['by a call of "weather"'], ["as usual"]),
        (ToolChoice(TOOLS, parallel=False), ["one tool at a time"], ["several tools"]),
    ],
)
def test_the_choice_is_told(choice: ToolChoice, says: list[str], says_not: list[str]) -> None:
    text = instruct(choice, SYNTAX)
    assert all(words in text for words in says)
    assert not any(words in text for words in says_not)


def test_the_example_is_what_the_detector_finds() -> None:
    assert CallText('{"name": "…", "arguments": {…}}') in CallDetector(SYNTAX).feed(instruct(ANY, SYNTAX))


def test_the_second_question_names_problems_tools_and_tags() -> None:
    text = ask_again(ANY, SYNTAX, ["No city.", "No name."])
    assert "- No city.\n- No name.\n" in text
    assert '"weather", "clock", "write_file"' in text
    assert SYNTAX.opening in text
    assert len(ask_again(ToolChoice(tuple(ToolSpec(f"t{n}") for n in range(2000))), SYNTAX, ["x"])) < 2000


def test_the_second_question_leaves_words_open_unless_a_call_is_required() -> None:
    assert "answer in words" in ask_again(ANY, SYNTAX, ["x"])
    assert "answer in words" not in ask_again(ToolChoice(TOOLS, required=True), SYNTAX, ["x"])
