"""Finds calls in an answer's text, whatever pieces it comes in.

Text that cannot begin a call is handed on in the same `feed`; held back is only what may be the start of a tag, or of
the code fence that models put around one, and white space before anything was said.

What models do beside the rule and what is taken as meant: a fence around the tags or inside them; line breaks anywhere;
no closing tag, or one without the mark; two calls, or a list of them, between one pair of tags; a tool's name before
the JSON; text before, between and after.
"""

from __future__ import annotations

from dataclasses import dataclass

import regex  # type: ignore[import-untyped]  # ships no types

from gateway.exchange.json_text import JsonText
from gateway.exchange.tool_calling.call_syntax import CallSyntax


@dataclass(frozen=True, slots=True)
class Said:
    """More text, never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class CallBegins:
    """What follows belongs to a call."""

    heading: str  # what stood before its JSON


@dataclass(frozen=True, slots=True)
class CallText:
    """More of the call's JSON."""

    text: str


@dataclass(frozen=True, slots=True)
class CallEnds:
    """The call is over, however whole its JSON is."""

    restarted: bool = False  # another one began inside it: the model, or a node of the app, has started afresh


Piece = Said | CallBegins | CallText | CallEnds

_FENCE = r"```[A-Za-z_]{0,12}[ \t]{0,8}\n\s{0,40}"


class CallDetector:
    """One answer's text in, text and calls out."""

    def __init__(self, syntax: CallSyntax) -> None:
        self._closings = (syntax.closing, "</tool_call>")
        opening, closing = regex.escape(syntax.opening), regex.escape(syntax.closing)
        # `partial` finds what may become a match when more text comes.
        self._opening = regex.compile(f"(?P<fence>{_FENCE})?{opening}")
        self._body = regex.compile(f"(?P<closing>{closing})|(?P<opening>{opening})")
        self._heading = regex.compile(f"(?P<json>[{{\\[])|(?P<closing>{closing})|(?P<opening>{opening})")
        self._behind = regex.compile(f"(?P<closing>{closing}|</tool_call>)|(?P<fence>```)|(?P<json>[{{\\[])")
        self._step = self._text
        self._held = ""
        self._pieces: list[Piece] = []
        self._json = JsonText()
        self._said = self._called = False
        self._fenced = self._closed = False

    def feed(self, text: str) -> list[Piece]:
        """Take more text."""
        self._held += text
        while self._held and self._step():
            pass
        pieces, self._pieces = self._pieces, []
        return pieces

    def finish(self) -> list[Piece]:
        """The text is over: what was held back is text after all, and an open call ends. The next text is a new one."""
        if self._step == self._text:
            if self._held and not (self._called and self._held.isspace()):
                self._pieces.append(Said(self._held))
        elif self._step == self._in_json:
            self._end_call()
        elif self._step == self._in_heading:
            self._pieces += [CallBegins(self._held), CallEnds()]
        elif self._step == self._after:
            rest = self._held.strip()
            if rest and not any(closing.startswith(rest) for closing in self._closings):
                self._pieces.append(Said(self._held))
        pieces, self._pieces = self._pieces, []
        self._held, self._step, self._said, self._called = "", self._text, False, False
        return pieces

    # Each step takes something from what is held, and says whether the next one can go on without more text.

    def _text(self) -> bool:
        found = self._opening.search(self._held, partial=True)
        before = self._held if found is None else self._held[: found.start()]
        if not self._said and before.isspace() and (found is None or found.partial):
            return False  # white space before a call is nobody's
        if before and not (before.isspace() and not self._said):
            self._say(before)
        if found is None or found.partial:
            self._held = "" if found is None else self._held[found.start() :]
            return False
        self._fenced = found["fence"] is not None
        self._open(found.end())
        return True

    def _in_heading(self) -> bool:
        found = self._heading.search(self._held, partial=True)
        if found is None or found.partial:
            return False
        heading = self._held[: found.start()]
        if found["opening"]:
            self._open(found.end())
            return True
        self._fenced = self._fenced or "```" in heading
        self._pieces.append(CallBegins(heading.strip("`: \t\r\n")))
        if found["json"]:
            self._begin_json(found.start())
        else:
            self._held = self._held[found.end() :]
            self._end_call(closed=True)
        return True

    def _in_json(self) -> bool:
        found = self._body.search(self._held, partial=True)
        end = len(self._held) if found is None else found.start()
        behind = self._feed_json(self._held[:end])
        if self._json.complete:
            self._held = behind + self._held[end:]
            self._end_call()
            return True
        self._held = self._held[end:]
        if found is None or found.partial:
            return False
        self._held = self._held[found.end() - end :]
        if found["closing"]:
            self._end_call(closed=True)
        else:
            self._end_call(restarted=True)
            self._open(0)
        return True

    def _after(self) -> bool:
        """Behind a call: what closes it, more calls, or text again."""
        rest = self._held.lstrip()
        if not rest:
            return False
        found = self._behind.match(rest, partial=True)
        if found is not None and found.partial:
            return False
        if found is not None and (found["closing"] or (found["fence"] and self._fenced)):
            self._closed = self._closed or found["closing"] is not None
            self._fenced = self._fenced and not found["fence"]
            self._held = rest[found.end() :]
            return True
        if found is not None and found["json"] and not self._closed:
            self._held = rest
            self._pieces.append(CallBegins(""))
            self._begin_json(0)
            return True
        opening = self._opening.match(rest, partial=True)
        if opening is not None and opening.partial:
            return False
        if opening is not None:
            self._held, self._fenced = rest, self._fenced or opening["fence"] is not None
            self._open(opening.end())
        else:
            self._step = self._text
        return True

    def _open(self, position: int) -> None:
        self._held = self._held[position:]
        self._step, self._closed = self._in_heading, False

    def _begin_json(self, position: int) -> None:
        self._held = self._held[position:]
        self._json = JsonText()
        self._step = self._in_json

    def _feed_json(self, text: str) -> str:
        piece, behind = self._json.feed(text)
        if piece:
            self._pieces.append(CallText(piece))
        return behind

    def _end_call(self, closed: bool = False, restarted: bool = False) -> None:
        self._pieces.append(CallEnds(restarted))
        self._step, self._closed, self._called = self._after, closed, True

    def _say(self, text: str) -> None:
        self._said = True
        self._pieces.append(Said(text))
