"""The answer's text → text and calls of the client's tools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gateway.errors import UnusableAnswer
from gateway.exchange.answer import AnswerEvent, Failed, Finished, FinishReason, Rejected, TextDelta, ToolCallDelta
from gateway.exchange.tool_calling.call_syntax import CallSyntax
from gateway.exchange.tool_calling.detector import CallBegins, CallDetector, CallEnds, CallText, Piece, Said
from gateway.exchange.tool_calling.instructions import ask_again
from gateway.exchange.tool_calling.open_call import OpenCall
from gateway.exchange.tool_calling.read_call import CallProblem
from gateway.exchange.turn import ToolChoice

_NO_CALL = "There is no call in it, but one is required."


class ToolCallStage:
    """One answer, with the second one that Dify gives when the first cannot be used.

    Text is shown unless a call is required, as OpenAI's models then say nothing. In a second answer only calls count,
    unless there is none at all: then its text is the answer.
    `new_id` gives a call's id by its number; `live`: the client reads a stream.
    """

    def __init__(self, choice: ToolChoice, syntax: CallSyntax, new_id: Callable[[int], str], live: bool) -> None:
        self._choice = choice
        self._syntax = syntax
        self._new_id = new_id
        self._live = live
        self._detector = CallDetector(syntax)
        self._tells = not choice.required
        self._said = False
        self._instead: list[str] = []  # the second answer's text
        self._calls = 0  # that were shown
        self._open: OpenCall | None = None
        self._problems: list[str] = []
        self._asked_again = False
        self._settled: str | None = None  # of the first answer
        self._failed = False

    def lets_pass(self, text: str) -> bool:
        return self._tells and not self._failed and self._detector.lets_pass(text)

    def feed(self, events: list[AnswerEvent]) -> list[AnswerEvent]:
        out: list[AnswerEvent] = []
        for event in events:
            if self._failed:
                break
            if isinstance(event, TextDelta):
                if self._tells and self._detector.lets_pass(event.text):
                    out.append(event)  # something was said before
                    continue
                self._take(self._detector.feed(event.text), out)
            elif isinstance(event, Finished):
                if event.reason is not FinishReason.STOP:
                    self._open = None  # cut or replaced: what is missing is no fault of the model
                self._take(self._detector.finish(), out)
                if not self._failed:
                    out += self._end(event)
            else:
                out.append(event)
        return out

    def _take(self, pieces: list[Piece], out: list[AnswerEvent]) -> None:
        for piece in pieces:
            if isinstance(piece, Said):
                if self._tells:
                    self._said = True
                    out.append(TextDelta(piece.text))
                elif not self._choice.required:
                    self._instead.append(piece.text)
            elif isinstance(piece, CallBegins):
                # Of several calls where one is wanted, the first one counts.
                wanted = self._choice.parallel or not self._calls
                self._open = OpenCall(piece.heading, self._choice.tools, self._live) if wanted else None
            elif self._open is None or self._failed:
                continue
            elif isinstance(piece, CallText):
                self._show(self._open, self._open.feed(piece.text), out)
            else:
                self._close(self._open, piece, out)

    def _show(self, call: OpenCall, arguments: str, out: list[AnswerEvent]) -> None:
        if not arguments or call.tool is None:
            return
        if call.index is None:
            call.index = self._calls
            out.append(self._begin_call(call.tool.name, arguments))
        else:
            out.append(ToolCallDelta(call.index, arguments))

    def _close(self, call: OpenCall, end: CallEnds, out: list[AnswerEvent]) -> None:
        self._open = None
        try:
            if call.tool is not None:
                self._show(call, call.finish_shown(), out)
            elif not end.restarted:
                for one in call.finish()[: None if self._choice.parallel else 1]:
                    out.append(self._begin_call(one.tool.name, one.arguments))
        except CallProblem as problem:
            if call.tool is None:
                self._problems.append(str(problem))
                return
            self._failed = True  # what was shown cannot be taken back
            out.append(Failed(_unusable([str(problem)])))

    def _begin_call(self, name: str, arguments: str) -> ToolCallDelta:
        index, self._calls = self._calls, self._calls + 1
        return ToolCallDelta(index, arguments, self._new_id(index), name)

    def _end(self, end: Finished) -> list[AnswerEvent]:
        if end.reason is FinishReason.CONTENT_FILTER:
            return [end]  # what replaces the answer is not the model's
        if not self._asked_again and end.text is not None:
            self._settled = self._text_of(end.text)
        end = replace(end, text=self._settled)
        if end.reason is not FinishReason.STOP or end.form is not None:
            return self._with_text(end)
        problems, self._problems = self._problems, []
        if not problems and self._choice.required and not self._calls:
            problems = [_NO_CALL]
        if problems:
            self._tells, self._asked_again = False, True
            return [Rejected(ask_again(self._choice, self._syntax, problems), _unusable(problems), end.usage)]
        return [replace(end, reason=FinishReason.TOOL_CALLS)] if self._calls else self._with_text(end)

    def _with_text(self, end: Finished) -> list[AnswerEvent]:
        """The end of an answer without a call that can be used: the second one's text was meant instead."""
        text = "".join(self._instead).strip()
        if not text or self._calls:
            return [end]
        text = f"\n\n{text}" if self._said else text
        return [TextDelta(text), end if end.text is None else replace(end, text=end.text + text)]

    def _text_of(self, settled: str) -> str:
        if not self._tells:
            return ""
        detector = CallDetector(self._syntax)
        pieces = detector.feed(settled) + detector.finish()
        return "".join(piece.text for piece in pieces if isinstance(piece, Said))


def _unusable(problems: list[str]) -> UnusableAnswer:
    return UnusableAnswer(f"The app's answer could not be used: {' '.join(problems)}", code="invalid_tool_call")
