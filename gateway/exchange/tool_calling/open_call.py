"""A call as it arrives: kept back until it can be checked, or, where it is long, shown as it comes.

A short call is checked before anything of it is shown, so the model can be asked again without the client's notice.
Long arguments are a file or a page of text and take a model many seconds: those are shown as they come.
"""

from __future__ import annotations

import re

from gateway.exchange.json_answers.json_text import LIVE_FROM, JsonText, read_strictly
from gateway.exchange.tool_calling.read_call import CallProblem, CheckedCall, check_arguments, find_tool, read_calls
from gateway.exchange.turn import ToolSpec

# What has to come first for the arguments to be shown before the rest is known.
_HEAD = re.compile(r'\{\s*"name"\s*:\s*"([^"\\]+)"\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)')


class OpenCall:
    """One call. `feed` returns more of its arguments once they are shown, `finish` what is to be said at its end."""

    def __init__(self, heading: str, tools: tuple[ToolSpec, ...], may_show: bool) -> None:
        self.tool: ToolSpec | None = None  # of a call that is shown
        self.index: int | None = None  # the client's number for it
        self._heading = heading
        self._tools = tools
        self._may_show = may_show
        self._text: list[str] = []
        self._size = 0
        self._arguments = JsonText()
        self._shown: list[str] = []

    def feed(self, text: str) -> str:
        """Take more of the call's JSON."""
        if self.tool is not None:
            return self._show(text)
        self._text.append(text)
        self._size += len(text)
        if self._may_show and self._size >= LIVE_FROM:
            return self._begin_to_show()
        return ""

    def finish(self) -> list[CheckedCall]:
        """The calls of one that was not shown. Raises CallProblem."""
        return read_calls("".join(self._text), self._heading, self._tools)

    def finish_shown(self) -> str:
        """What is missing of arguments that were shown. Raises CallProblem."""
        assert self.tool is not None
        ending = self._arguments.ending()
        try:
            arguments = read_strictly("".join(self._shown) + ending)
        except ValueError as error:
            raise CallProblem(f"The arguments of {self.tool.name!r} are no JSON: {error}.") from None
        check_arguments(arguments, self.tool)
        return ending

    def _begin_to_show(self) -> str:
        self._may_show = False  # now or never
        text = "".join(self._text)
        if (head := _HEAD.match(text)) is None:
            return ""
        try:
            self.tool = find_tool(head[1], self._tools)
        except CallProblem:
            return ""
        return self._show(text[head.end() :])

    def _show(self, text: str) -> str:
        # It has been made strict before, which is the same once more; what follows the arguments is of no use.
        piece, _ = self._arguments.feed(text)
        self._shown.append(piece)
        return piece
