"""What is taken for a call, and what is said of one that cannot be used (what models write: corpus.py)."""

from __future__ import annotations

import json

import pytest

from gateway.exchange.tool_calling.read_call import CallProblem, find_tool, read_calls
from gateway.exchange.turn import ToolSpec
from tests.unit.exchange.tool_calling.corpus import TOOLS


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no", "no JSON object"),
        ("[]", "nothing in the call"),
        ("[5]", "is a JSON object"),
        ('{"name":"radar"}', "no tool 'radar'"),
        ('{"name":"weather"}', "The arguments of 'weather' do not fit its schema: 'city' is a required property."),
        ('{"name":"weather","arguments":{"city":5}}', "city: 5 is not of type 'string'"),
        ('{"name":"write_file","arguments":{"path":1e999}}', "cannot be written"),
        ("{}", "no tool ''"),
        ("x" * 5000, "no JSON object"),
    ],
)
def test_a_problem_says_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(CallProblem) as raised:
        read_calls(text, "", TOOLS)
    assert says in str(raised.value)
    assert len(str(raised.value)) < 500


def test_one_bad_call_spoils_its_list() -> None:
    with pytest.raises(CallProblem):
        read_calls('[{"name":"clock"},{"name":"radar"}]', "", TOOLS)


def test_what_stands_around_a_name_is_no_argument() -> None:
    [call] = read_calls('{"type":"function","id":"1","name":"clock"}', "", TOOLS)
    assert call.arguments == "{}"


def test_arguments_are_compact_and_keep_their_script() -> None:
    [call] = read_calls('{"name": "weather", "arguments": {"city": "東京", "days": 2}}', "", TOOLS)
    assert call.arguments == '{"city":"東京","days":2}'


def test_a_tool_may_have_a_parameter_of_a_name_that_means_arguments() -> None:
    shell = ToolSpec("shell", "", {"type": "object", "required": ["input"]})
    [call] = read_calls('{"name":"shell","input":"ls -l"}', "", (shell,))
    assert json.loads(call.arguments) == {"input": "ls -l"}


def test_two_tools_that_differ_in_case_are_two() -> None:
    tools = (ToolSpec("run"), ToolSpec("Run"))
    assert [find_tool(name, tools).name for name in ("run", "Run")] == ["run", "Run"]
    with pytest.raises(CallProblem):
        find_tool("RUN", tools)


def test_a_name_that_could_mean_two_tools_means_none() -> None:
    with pytest.raises(CallProblem):
        find_tool("get time", (ToolSpec("get_time"), ToolSpec("get-time")))
    assert find_tool("get-time", (ToolSpec("get_time"), ToolSpec("get-time"))).name == "get-time"


def test_a_parameter_beats_a_field_of_the_call_where_only_it_fits() -> None:
    rpc = ToolSpec("rpc", "", {"type": "object", "properties": {"method": {}, "params": {}}, "required": ["method"]})
    [call] = read_calls('{"name":"rpc","method":"add","params":{"a":1}}', "", (rpc,))
    assert json.loads(call.arguments) == {"method": "add", "params": {"a": 1}}


def test_an_argument_of_a_parameters_name_names_no_tool() -> None:
    mouse = ToolSpec("mouse", "", {"type": "object", "properties": {"action": {"type": "string"}}})
    [call] = read_calls('{"name":"mouse","action":"clock"}', "", (*TOOLS, mouse))
    assert (call.tool.name, call.arguments) == ("mouse", '{"action":"clock"}')
    [call] = read_calls('{"tool":"mouse","name":"Bo","action":"click"}', "", (*TOOLS, mouse))
    assert (call.tool.name, call.arguments) == ("mouse", '{"name":"Bo","action":"click"}')


def test_wrong_arguments_are_not_made_to_fit_as_something_else() -> None:
    lenient = ToolSpec("lenient", "", {"type": "object", "properties": {"days": {"type": "integer"}}})
    with pytest.raises(CallProblem):
        read_calls('{"name":"lenient","arguments":{"days":"many"}}', "", (lenient,))
