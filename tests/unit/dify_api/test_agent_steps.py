"""Each of an agent's steps is told once, whatever Dify repeats."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dify_api.agent_steps import AgentSteps
from gateway.exchange.answer import ReasoningDelta


def thought(step: str = "s1", thought: str = "", tool: str = "", tool_input: Any = "", observation: Any = "") -> Any:
    return {"id": step, "thought": thought, "tool": tool, "tool_input": tool_input, "observation": observation}


def told(events: list[ReasoningDelta]) -> str:
    return "".join(event.text for event in events)


CALL = thought(tool="clock", tool_input='{"clock": {"zone": "UTC"}}')
DONE = {**CALL, "observation": '{"clock": "noon"}'}


def test_a_call_and_its_result_are_told_when_they_come() -> None:
    steps = AgentSteps(thinks_apart=False)
    assert steps.take_thought(thought()) == []
    assert steps.take_thought(CALL) == [ReasoningDelta('→ clock {"zone":"UTC"}', begins=True)]
    assert steps.take_thought(CALL) == []
    assert steps.take_thought(DONE) == [ReasoningDelta("\n← noon")]
    assert steps.take_thought(DONE) == []


def test_a_step_may_be_full_from_the_start() -> None:
    assert told(AgentSteps(False).take_thought(DONE)) == '→ clock {"zone":"UTC"}\n← noon'


def test_several_tools_of_one_step() -> None:
    steps = AgentSteps(False)
    inputs, results = '{"clock": {}, "weather": {"city": "Oslo"}}', '{"clock": "noon", "weather": {"celsius": 3}}'
    events = steps.take_thought(thought(tool="clock;weather", tool_input=inputs, observation=results))
    assert told(events) == '→ clock {}\n→ weather {"city":"Oslo"}\n← clock: noon\n← weather: {"celsius":3}'


@pytest.mark.parametrize(
    ("tool_input", "observation", "shown"),
    [
        ("", "", "→ clock"),
        ("{broken", "", "→ clock {broken"),
        ('{"zone": "UTC"}', "", '→ clock {"zone":"UTC"}'),
        (None, None, "→ clock"),
        ("{}", "plain text", "→ clock {}\n← plain text"),
        ("{}", "two\nlines  apart", "→ clock {}\n← two lines apart"),
        ("{}", "key app-aaaaaaaaaaaaaaaaaaaaaaaa", "→ clock {}\n← key app-…"),
    ],
)
def test_what_is_no_object_is_shown_as_it_is(tool_input: Any, observation: Any, shown: str) -> None:
    events = AgentSteps(False).take_thought(thought(tool="clock", tool_input=tool_input, observation=observation))
    assert told(events) == shown


def test_long_ones_are_cut() -> None:
    inputs, results = f'{{"clock": "{"x" * 900}"}}', f'{{"clock": "{"y" * 90_000}"}}'
    call, result = AgentSteps(False).take_thought(thought(tool="clock", tool_input=inputs, observation=results))
    assert call.text == "→ clock " + "x" * 499 + "…"
    assert result.text == "\n← " + "y" * 499 + "…"


def test_old_agents_repeat_their_text_as_thoughts() -> None:
    steps = AgentSteps(thinks_apart=False)
    assert steps.take_thought(thought(thought="It is noon.")) == []


def test_the_new_agent_thinks_apart() -> None:
    steps = AgentSteps(thinks_apart=True)
    assert steps.take_thought(thought(thought="I need")) == [ReasoningDelta("I need", begins=True)]
    assert steps.take_thought(thought(thought="I need a clock.")) == [ReasoningDelta(" a clock.")]
    assert steps.take_thought(thought(thought="I need a clock.")) == []
    assert steps.take_thought(thought(thought="Another one.")) == [ReasoningDelta("Another one.", begins=True)]


def test_the_new_agent_s_thought_that_was_said_is_not_told_again() -> None:
    steps = AgentSteps(thinks_apart=True)
    steps.take_thought(thought())
    for text in ("It is ", "noon. "):
        steps.say(text)
    assert steps.take_thought(thought(thought="It is noon.")) == []


def test_texts_of_two_steps_are_parted() -> None:
    steps = AgentSteps(False)
    steps.take_thought(thought("s1"))
    assert [steps.say("Let me "), steps.say("look.")] == ["", ""]
    steps.take_thought(thought("s1", tool="clock"))
    assert steps.say(" Still.") == ""
    steps.take_thought(thought("s2"))
    assert [steps.say("It is "), steps.say("noon.")] == ["\n\n", ""]
    steps.take_thought(thought("s3"))
    assert steps.say("\nDone.\n") == ""
    steps.take_thought(thought("s4"))
    assert steps.say("Really.") == ""


def test_tools_of_a_flow_s_agent_node() -> None:
    steps = AgentSteps(False)
    assert steps.take_log({"id": "l1", "label": "ROUND 1", "status": "start", "data": {}}) == []
    assert steps.take_log({"id": "l2", "label": "CALL clock", "status": "start", "data": {}}) == []
    output = {
        "tool_call_id": "c1",
        "tool_call_name": "clock",
        "tool_call_input": {"zone": "UTC"},
        "tool_response": "noon",
    }
    log = {"id": "l2", "label": "CALL clock", "status": "success", "data": {"output": output}}
    assert told(steps.take_log(log)) == '→ clock {"zone":"UTC"}\n← noon'
    assert steps.take_log(log) == []


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just('{"a": {"b": 1}}'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["id", "thought", "tool", "tool_input", "observation", "data", "output", "tool_call_name"])


@given(st.lists(st.dictionaries(FIELDS, JUNK), max_size=5))
def test_no_garbage_breaks_it(events: list[dict[str, Any]]) -> None:
    steps = AgentSteps(thinks_apart=True)
    for event in events:
        for delta in steps.take_thought(event) + steps.take_log(event):
            assert delta.text
            delta.text.encode()
