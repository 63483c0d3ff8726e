"""Finds calls in an answer's text, whatever pieces it comes in.

Text that cannot begin a call is handed on in the same `feed`; held back is only what may be the start of a tag, or of
the code fence that models put around one, and white space before anything was said.

What models do beside the rule and what is taken as meant: a fence around the tags or inside them; line breaks anywhere;
no closing tag, one without the mark or of another protocol, or the opening one once more; brackets too many; two
calls, or a list of them, between one pair of tags; a tool's name before the JSON; text before, between and after.
"""

from __future__ import annotations

import re

from gateway.exchange.json_answers.json_text import JsonText
from gateway.exchange.tool_calling.call_syntax import CallSyntax
from gateway.exchange.tool_calling.tag_search import fence_before, find_tag, open_fence
from gateway.frozen import frozen


@frozen
class Said:
    """More text, never empty."""

    text: str


@frozen
class CallBegins:
    """What follows belongs to a call."""

    heading: str  # what stood before its JSON


@frozen
class CallText:
    """More of the call's JSON."""

    text: str


@frozen
class CallEnds:
    """The call is over, however whole its JSON is."""

    restarted: bool = False  # another one began inside it: the model, or a node of the app, has started afresh


Piece = Said | CallBegins | CallText | CallEnds

_FENCE = "```"
_AROUND_HEADING = "`: \t\r\n"
_JSON_BEGINS = re.compile(r"[{\[]")
# What may stand between a call's JSON and the tag that closes it.
_LEFT_OVER = re.compile(r"(?:\s*(?:[}\]),;]|</[\w:.|-]{1,64}>))+")
_MAY_BE_LEFT_OVER = re.compile(r"\s*</[\w:.|-]{0,64}\Z")


class CallDetector:
    """One answer's text in, text and calls out."""

    def __init__(self, syntax: CallSyntax) -> None:
        self._opening, self._closing = syntax.opening, syntax.closing
        self._closings = (syntax.closing, "</tool_call>")
        self._step = self._text
        self._held = ""
        self._pieces: list[Piece] = []
        self._json = JsonText()
        self._said = self._called = False
        self._fenced = self._closed = False
        self._may_close = False  # the opening tag that was read last, as the call before it was not closed

    def lets_pass(self, text: str) -> bool:
        """Whether `text` is said, all of it, as it is; `feed` need not get it."""
        in_text = self._said and not self._held and self._step == self._text
        return in_text and "<" not in text and "`" not in text

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
            if not self._may_close:
                self._pieces += [CallBegins(self._held.strip(_AROUND_HEADING)), CallEnds()]
            elif self._held and not self._held.isspace():
                self._pieces.append(Said(self._held))
        elif self._step == self._after:
            rest = self._held.strip()
            cut_off = not self._closed and _MAY_BE_LEFT_OVER.match(self._held)
            if rest and not cut_off and not any(closing.startswith(rest) for closing in self._closings):
                self._pieces.append(Said(self._held))
        pieces, self._pieces = self._pieces, []
        self._held, self._step, self._said, self._called = "", self._text, False, False
        return pieces

    # Each step takes something from what is held, and says whether the next one can go on without more text.

    def _text(self) -> bool:
        text = self._held
        at, tag = find_tag(text, [self._opening])
        begin = open_fence(text) if at == len(text) else fence_before(text, at)
        before = text[:begin]
        if before and (self._said or not before.isspace()):
            self._said = True
            self._pieces.append(Said(before))
        elif not tag:
            return False  # white space before a call is nobody's
        if not tag:
            self._held = text[begin:]
            return False
        self._fenced = begin < at
        self._open(at + len(tag))
        return True

    def _in_heading(self) -> bool:
        at, tag = find_tag(self._held, [self._opening, self._closing])
        json_begins = _JSON_BEGINS.search(self._held, 0, at)
        if json_begins is None and not tag:
            return False
        heading = self._held[: at if json_begins is None else json_begins.start()]
        if json_begins is None and tag == self._opening:
            self._open(at + len(tag))
            return True
        self._fenced = self._fenced or _FENCE in heading
        self._pieces.append(CallBegins(heading.strip(_AROUND_HEADING)))
        if json_begins is not None:
            self._begin_json(json_begins.start())
        else:
            self._held = self._held[at + len(tag) :]
            self._end_call(closed=True)
        return True

    def _in_json(self) -> bool:
        at, tag = find_tag(self._held, [self._opening, self._closing])
        behind = self._feed_json(self._held[:at])
        if self._json.complete:
            self._held = behind + self._held[at:]
            self._end_call()
            return True
        self._held = self._held[at + len(tag) :]
        if not tag:
            return False
        if tag == self._closing:
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
        for mark in (*self._closings, *([_FENCE] if self._fenced else [])):
            if rest.startswith(mark):
                self._closed = self._closed or mark is not _FENCE
                self._fenced = self._fenced and mark is not _FENCE
                self._held = rest[len(mark) :]
                return True
            if mark.startswith(rest):
                return False
        if not self._closed and (left_over := _LEFT_OVER.match(self._held)):
            self._held = self._held[left_over.end() :]
            return True
        if not self._closed and _MAY_BE_LEFT_OVER.match(self._held):
            return False
        if rest[0] in "{[" and not self._closed:
            self._held = rest
            self._pieces.append(CallBegins(""))
            self._begin_json(0)
            return True
        at, tag = find_tag(rest, [self._opening])
        begin = open_fence(rest) if at == len(rest) else fence_before(rest, at)
        if begin == 0 and not tag:
            return False
        if begin == 0:
            self._fenced = self._fenced or at > 0
            self._held = rest
            self._open(at + len(tag), may_close=not self._closed)
        else:
            self._step = self._text
        return True

    def _open(self, position: int, may_close: bool = False) -> None:
        self._held = self._held[position:]
        self._step, self._closed, self._may_close = self._in_heading, False, may_close

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
        if self._step == self._in_json and self._json.held:
            self._pieces.append(CallText(self._json.held))
        self._pieces.append(CallEnds(restarted))
        self._step, self._closed, self._called = self._after, closed, True
