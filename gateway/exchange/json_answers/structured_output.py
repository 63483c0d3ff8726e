"""The answer's text → bare JSON, which is all that a client that asked for JSON can parse.

Models put prose before it, fences around it and remarks behind it; none of that is shown. Short JSON is checked before
any of it is shown, and the best of the whole answer is taken. A streaming client gets long JSON as it comes, so what is
wrong at its end is an error then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

import regex  # type: ignore[import-untyped]  # ships no types

from gateway.errors import UnusableAnswer
from gateway.exchange.answer import AnswerEvent, Failed, Finished, FinishReason, Rejected, TextDelta
from gateway.exchange.json_answers.json_schema import root_type, value_problem
from gateway.exchange.json_answers.json_text import LIVE_FROM, JsonText, read_json, read_strictly, write_json
from gateway.exchange.json_answers.retype import retype
from gateway.exchange.turn import JSONValue, ResponseFormat

_TASK = "Answer with one JSON {kind} and nothing else: no words before or behind it, no code block."
_SCHEMA = "It has to fit this JSON Schema:\n{schema}"
_AGAIN = "Your last message could not be used: {problem} Write the whole JSON again, corrected, and nothing else."

# Where JSON begins: prose has brackets, too, but seldom before what comes first in an object or an array.
_BEGINNINGS = {
    "object": regex.compile(r'\{\s*["}]'),
    "array": regex.compile(r'\[\s*["{\[\]\d\-tfn]'),
}
_BRACKETS = {"object": "{", "array": "["}

# Models whose prompt begins the thought end it with a tag alone, and draft in it what they write behind it.
_THOUGHT_END = "\n</think>"


def instruct_format(wanted: ResponseFormat) -> str:
    """What stands in front of the query."""
    task = _TASK.format(kind=_kind(wanted))
    return task if wanted.schema is None else f"{task} {_SCHEMA.format(schema=write_json(dict(wanted.schema)))}"


class StructuredOutput:
    """One answer, with the second one that Dify gives when the first cannot be used."""

    def __init__(self, wanted: ResponseFormat, live: bool) -> None:
        self._wanted = wanted
        self._live = live
        self._kind = _kind(wanted)
        self._begin()

    def lets_pass(self, text: str) -> bool:
        return False

    def feed(self, events: list[AnswerEvent]) -> list[AnswerEvent]:
        out: list[AnswerEvent] = []
        for event in events:
            if isinstance(event, TextDelta):
                self._text.append(event.text)
                if self._live and (shown := self._show(self._read(event.text))):
                    out.append(TextDelta(shown))
            elif isinstance(event, Finished):
                out += self._end(event)
            else:
                out.append(event)
        return out

    def _begin(self) -> None:
        self._text: list[str] = []
        self._held = ""  # what may be the beginning
        self._json: JsonText | None = None
        self._unshown = ""  # JSON, until there is enough of it
        self._shown: list[str] = []

    def _show(self, text: str) -> str:
        self._unshown += text
        if not self._shown and len(self._unshown) < LIVE_FROM:
            return ""
        shown, self._unshown = self._unshown, ""
        self._shown.append(shown)
        return shown

    def _read(self, text: str) -> str:
        """What of the text is JSON."""
        if self._json is None:
            self._held += text
            found = _BEGINNINGS[self._kind].search(self._held, partial=True)
            text, self._held = "" if found is None else self._held[found.start() :], ""
            if found is None or found.partial:
                self._held = text
                return ""
            self._json = JsonText()
        piece, _ = self._json.feed(text)
        return piece

    def _end(self, end: Finished) -> list[AnswerEvent]:
        whole = "".join(self._text) if end.text is None else end.text
        if end.reason in (FinishReason.TOOL_CALLS, FinishReason.CONTENT_FILTER) or end.form is not None:
            return [end]
        try:
            text = self._finish_shown() if self._shown else self._extract(whole)
        except ValueError as problem:
            if end.reason is FinishReason.LENGTH:
                return [*self._cut(whole), end]
            error = UnusableAnswer(f"The app's answer is not the JSON asked for: {problem}", code="invalid_json")
            if self._shown:
                return [Failed(error)]  # what was shown cannot be taken back
            self._begin()
            return [Rejected(_AGAIN.format(problem=problem), error, end.usage)]
        settled = None if end.text is None else "".join(self._shown) + text
        return [*([TextDelta(text)] if text else []), replace(end, text=settled)]

    def _cut(self, whole: str) -> list[AnswerEvent]:
        """An answer that was cut off, which its reason says: as far as it goes."""
        text = self._read(whole) if not self._live else "" if self._shown else self._unshown
        return [TextDelta(text)] if text else []

    def _finish_shown(self) -> str:
        """What is missing of the JSON that was shown. Raises ValueError."""
        assert self._json is not None
        ending = self._json.ending()
        self._check(read_strictly("".join(self._shown) + ending))
        return ending

    def _extract(self, whole: str) -> str:
        """The JSON in the whole answer: the first that fits. Raises ValueError, of the first that does not."""
        first: ValueError | None = None
        parts = dict.fromkeys((whole.rpartition(_THOUGHT_END)[2], whole))
        for text in chain.from_iterable(map(self._candidates, parts)):
            try:
                return self._fit(text)
            except ValueError as problem:
                first = first or problem
        raise first or ValueError(f"There is no JSON {self._kind} in it.")

    def _fit(self, text: str) -> str:
        """The JSON in the types that the schema names. Raises ValueError."""
        value = read_json(text)
        try:
            self._check(value)
        except ValueError:
            retyped = retype(value, self._wanted.schema)
            if retyped == value:
                raise
            self._check(retyped)
            return write_json(retyped)
        return _strict(text, value)

    def _candidates(self, whole: str) -> Iterator[str]:
        position = 0
        while found := _BEGINNINGS[self._kind].search(whole, position):
            json = JsonText()
            text, behind = json.feed(whole[found.start() :])
            yield text + json.held
            position = len(whole) - len(behind)
        # Nothing of it is JSON as it stands: from the first bracket on it may be something like it.
        if (bracket := whole.find(_BRACKETS[self._kind])) >= 0:
            yield whole[bracket:]

    def _check(self, value: JSONValue) -> None:
        if not isinstance(value, dict if self._kind == "object" else list):
            raise ValueError(f"It is no JSON {self._kind}.")
        if self._wanted.schema and (problem := value_problem(value, self._wanted.schema)):
            raise ValueError(f"It does not fit the schema: {problem}.")


def _kind(wanted: ResponseFormat) -> str:
    return "array" if wanted.schema and root_type(wanted.schema) == "array" else "object"


def _strict(text: str, value: JSONValue) -> str:
    """The model's own writing, if a strict parser reads it."""
    try:
        read_strictly(text)
    except ValueError:
        return write_json(value)
    return text
