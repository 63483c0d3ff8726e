"""Agents: thoughts that are a live view of a database row, and text in agent_message."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from typing import Any

from tests.simulator.message_app import MessageApp
from tests.simulator.producer import BlockingReply, new_id
from tests.simulator.speech import Failure, Token, answer_tokens, speak, thinking
from tests.simulator.steps import Event, Send, Silence, Step

_CLOCK = "current_time"
_CLOCK_LABEL = {
    "zh_Hans": "获取当前时间",
    "en_US": "Current Time",
    "pt_BR": "Current Time",
    "ja_JP": "Current Time",
}
_PAINTER = "qrcode_generator"
_PRETEXT = ("Let me ", "look that ", "up.")


class AgentApp(MessageApp):
    """`agent-chat` and the newer `agent`, which closes with one `message` that repeats everything."""

    def steps(self) -> Iterator[Step]:
        script = self.turn.script
        if script.hang:
            yield Silence(pings=False)
        if script.fail is not None and not script.failafter and script.fail != "cut":
            yield from self._spoken()
            return
        position = 1
        if script.tool or script.file:
            yield from self._tool_round()
            position = 2
        yield from self._last_round(position)

    def blocking_reply(self) -> BlockingReply:
        raise AssertionError("agents do not block")

    def _last_round(self, position: int) -> Iterator[Step]:
        thought_id, text = new_id(), "".join((*thinking(self.turn), *answer_tokens(self.turn)))
        early = text if self._races else ""
        yield Send(self._thought(thought_id, position, early))
        ended = yield from self._spoken()
        if not ended:
            return
        yield Send(self._agent_message(""))
        yield Send(self._thought(thought_id, position, text))
        if self.turn.app.mode == "agent":
            yield Send(self.event("message", id=self.turn.message_id, answer=self.answer, from_variable_selector=None))
        if self.turn.script.replace is not None:
            yield Send(self.message_replace(self.turn.script.replace, reason=""))
        if self.turn.script.stopped:
            yield from self.stopped()
            return
        yield Send(self.message_end(self.usage()))
        yield from self.tail()

    def _spoken(self) -> Generator[Step, None, bool]:
        """The tokens; the generator's value says whether they came to their end."""
        for item in speak(self.turn):
            if isinstance(item, Failure):
                yield from self.fail()
                return False
            if isinstance(item, Token):
                yield from self.interludes(self.tokens)
                self.answer += item.text
                self.tokens += 1
                yield Send(self._agent_message(item.text), tokens=1)
            else:
                yield item
        return True

    def _tool_round(self) -> Iterator[Step]:
        """Placeholder, text, two empty deltas, the call, its result."""
        tool = _PAINTER if self.turn.script.file else _CLOCK
        pretext = _PRETEXT if self.turn.script.tool == "pretext" else ()
        thought_id, file_id = new_id(), new_id()
        files = [file_id] if self.turn.script.file else []
        call: dict[str, Any] = {"tool": tool, "tool_labels": {tool: _CLOCK_LABEL}, "text": "".join(pretext)}
        call["tool_input"] = json.dumps({tool: {"timezone": "UTC"} if tool == _CLOCK else {"content": "hi"}})
        result = json.dumps({tool: "2026-11-22 06:50:17" if tool == _CLOCK else "image has been created"})
        final = call | {"observation": result, "message_files": files}
        yield Send(self._thought(thought_id, 1, **(final if self._races else {"text": ""})))
        for text in pretext:
            self.answer += text
            yield Send(self._agent_message(text), tokens=1)
        yield Send(self._agent_message(""))
        yield Send(self._agent_message(""))
        yield Send(self._thought(thought_id, 1, **(final if self._races else call)))
        if files:
            yield Send(self.message_file(file_id))
        yield Send(self._thought(thought_id, 1, **final))

    @property
    def _races(self) -> bool:
        """While the server sleeps before a new conversation's first byte, the agent fills in its thoughts."""
        turn = self.turn
        return bool(turn.profile.first_turn_seconds) and turn.first_turn and turn.auto_generate_name

    def _thought(
        self,
        thought_id: str,
        position: int,
        text: str,
        tool: str = "",
        tool_input: str = "",
        observation: str = "",
        tool_labels: dict[str, Any] | None = None,
        message_files: list[str] | None = None,
    ) -> Event:
        return self.event(
            "agent_thought",
            id=thought_id,
            position=position,
            thought=text,
            observation=observation,
            tool=tool,
            tool_labels=tool_labels or {},
            tool_input=tool_input,
            message_files=message_files or [],
        )

    def _agent_message(self, text: str) -> Event:
        return self.event("agent_message", id=self.turn.message_id, answer=text)
