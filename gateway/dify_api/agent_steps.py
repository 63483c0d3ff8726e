"""What an agent did for its answer, told once: the tools that it ran, what they gave, and what it thought apart.

Dify sends the state of a step several times over under one id (`agent_thought` of agent apps, `agent_log` of a flow's
agent nodes), each time fuller; duplicates and a step that is full from the start occur (1.12.1, new conversations).
"""

from __future__ import annotations

from typing import Any

from gateway.dify_api.failure import one_line
from gateway.dify_api.outputs import render_output
from gateway.dify_api.streamed_text import mend_surrogates
from gateway.exchange.answer import ReasoningDelta
from gateway.json_codec import loads

_LONGEST = 500  # characters of a tool's input, and of its result


class AgentSteps:
    """The steps of one run. `thinks_apart`: a step's thought is not the answer's text again, as in older agents."""

    def __init__(self, thinks_apart: bool) -> None:
        self._thinks_apart = thinks_apart
        self._thought: dict[str, str] = {}  # by the step's id, as far as it is told
        self._called: set[str] = set()
        self._answered: set[str] = set()
        self._last_said = ""  # the last character of the agent's text
        self._said: list[str] = []  # in this step
        self._new_step = False

    def say(self, text: str) -> str:
        """Note more of the agent's text; return what parts it from that of an earlier step, as Dify does not."""
        parted = self._last_said == "\n" or text.startswith("\n")
        gap = "\n\n" if self._new_step and self._last_said and not parted else ""
        self._new_step = False
        self._last_said = text[-1]
        if self._thinks_apart:
            self._said.append(text)
        return gap

    def take_thought(self, event: dict[str, Any]) -> list[ReasoningDelta]:
        """Take an `agent_thought`."""
        step = event.get("id")
        if not isinstance(step, str):
            return []
        if step not in self._thought:
            self._thought[step] = ""
            self._new_step = True
        told = self._tell_thought(step, event.get("thought")) if self._thinks_apart else []
        if tools := _text(event.get("tool")):
            told += self._tell_tools(step, tools.split(";"), event.get("tool_input"), event.get("observation"))
        return told

    def take_log(self, data: dict[str, Any]) -> list[ReasoningDelta]:
        """Take the data of an `agent_log`; of a node's many logs, those that end a tool's run."""
        step, inner = data.get("id"), data.get("data")
        output = inner.get("output") if isinstance(inner, dict) else None
        if not isinstance(step, str) or not isinstance(output, dict):
            return []
        tool = _text(output.get("tool_call_name"))
        given, result = {tool: output.get("tool_call_input")}, {tool: output.get("tool_response")}
        return self._tell_tools(step, [tool], given, result) if tool else []

    def _tell_thought(self, step: str, thought: Any) -> list[ReasoningDelta]:
        if not (thought := _text(thought)) or thought.strip() in "".join(self._said):
            return []
        known = self._thought[step]
        self._thought[step] = thought
        if not thought.startswith(known):
            known = ""
        more = thought[len(known) :]
        return [ReasoningDelta(more, begins=not known)] if more else []

    def _tell_tools(self, step: str, tools: list[str], given: Any, results: Any) -> list[ReasoningDelta]:
        told = []
        given, results = _parsed(given), _parsed(results)
        if step not in self._called:
            self._called.add(step)
            lines = [f"→ {tool} {_shown(given, tool)}".rstrip() for tool in tools]
            told.append(ReasoningDelta("\n".join(lines), begins=True))
        answers = {tool: shown for tool in tools if (shown := _shown(results, tool))}
        if answers and step not in self._answered:
            self._answered.add(step)
            named = len(tools) > 1
            lines = [f"\n← {tool + ': ' if named else ''}{shown}" for tool, shown in answers.items()]
            told.append(ReasoningDelta("".join(lines)))
        return told


def _parsed(value: Any) -> Any:
    """An object, where Dify wrote one as JSON text."""
    if not isinstance(value, str) or not value.startswith("{"):
        return value
    try:
        return loads(value.encode("utf-8", "replace"))
    except ValueError:
        return value


def _shown(values: Any, tool: str) -> str:
    """A tool's part of what was told of all tools of a step, short and in one line."""
    value = values.get(tool, values) if isinstance(values, dict) else values  # all, where they do not name it
    return one_line(render_output(value), _LONGEST)


def _text(value: Any) -> str:
    return mend_surrogates(value) if isinstance(value, str) else ""
