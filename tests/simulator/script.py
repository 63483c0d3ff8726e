"""Directives in the user's text, and the Script they add up to."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any


class UnknownDirective(ValueError):
    """A directive that means nothing here: most likely a test's typo."""


@dataclass(frozen=True, slots=True)
class Directive:
    """One row of the table below; `read` turns its argument into the Script's value."""

    name: str
    argument: str
    meaning: str
    read: Callable[[str], Any]


def _count(text: str) -> int:
    return int(text)


def _flag(text: str) -> bool:
    return text not in ("0", "no", "false")


def _choice(*allowed: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}")
        return text

    return read


FAILURES = ("400", "401", "403", "429", "500", "503", "timeout", "cut")
HTTP_FAULTS = (
    *("400", "401", "403", "404", "413", "429", "500", "503"),
    *("limit", "quota", "502html", "503html", "504html", "524html"),
)

DIRECTIVES: tuple[Directive, ...] = (
    Directive("n", "N", "answer with the words w1 ... wN", _count),
    Directive("delay", "S", "seconds between two tokens", float),
    Directive("first", "S", "seconds before the first token", float),
    Directive(
        "text", '"..."', "answer with this text (JSON escapes work; <CALL> and </CALL> become a call's tags)", str
    ),
    Directive("call", '"NAME {...}"', "call the client's tool as the question explains; one call a line", str),
    Directive("then", '"..."', "answer with this text once the question has a tool's result", str),
    Directive("again", '"..."', "answer with this text when asked to correct an answer", str),
    Directive("echo", "", "answer with the query itself, without directives", _flag),
    Directive("prompt", "", "answer with the messages the model was sent, as JSON", _flag),
    Directive("empty", "", "answer with nothing", _flag),
    Directive("unicode", "", "answer with many scripts, joined emoji and controls", _flag),
    Directive("emoji", "", "answer with emoji only", _flag),
    Directive("u2028", "", "answer with U+2028, U+2029 and U+FEFF", _flag),
    Directive("big", "N", "answer with one delta of N characters", _count),
    Directive("tiny", "N", "answer with N deltas of one character", _count),
    Directive("think", "[split]", "think aloud before the answer; split cuts the tags too", str),
    Directive("reasoning", "", "think in reasoning_chunk events (flows of 1.16; elsewhere like think)", _flag),
    Directive("tool", "[pretext]", "call a tool first (agents); pretext says something before the call", str),
    Directive("file", "", "the app makes an image", _flag),
    Directive("cite", "[web]", "add retriever_resources; web: the document is a page of a crawled website", str),
    Directive("replace", '"..."', "replace the whole answer at the end (moderation)", str),
    Directive("usage", "none|zero", "no usage, or all zero", _choice("none", "zero")),
    Directive("fail", "|".join(FAILURES), "the model's provider fails", _choice(*FAILURES)),
    Directive("failafter", "N", "... after N tokens", _count),
    Directive("errorhang", "", "the failure's last event, then only pings; the socket stays open", _flag),
    Directive("http", "|".join(HTTP_FAULTS), "this HTTP error instead of an answer", _choice(*HTTP_FAULTS)),
    Directive("hang", "", "not even response headers, for ever", _flag),
    Directive("stall", "N", "after N tokens only pings, for ever", _count),
    Directive("mute", "N", "after N tokens nothing at all, for ever", _count),
    Directive("drop", "N", "after N tokens close the connection without the last chunk", _count),
    Directive("rst", "N", "after N tokens reset the connection", _count),
    Directive("eof", "N", "after N tokens end the response cleanly, without a terminal event", _count),
    Directive("nostatus", "", "close the connection instead of answering", _flag),
    Directive("garbage", "", "answer with bytes that are not HTTP", _flag),
    Directive("split", "K", "write at most K bytes to the socket at a time", _count),
    Directive("glue", "K", "K events per write", _count),
    Directive("unknown", "", "mix in events no release has", _flag),
    Directive("tts", "", "tts_message events, also after the terminal event", _flag),
    Directive("retry", "", "the LLM node fails and retries, garbling the text (chatflow)", _flag),
    Directive("paused", "[email]", "wait for a human (flows of 1.16); email: who cannot answer through the API", str),
    Directive("stopped", "", "end as if somebody had stopped the run", _flag),
    Directive("stoprace", "", "a stop comes between two nodes: the run ends as a failure (flows)", _flag),
    Directive("partial", "", "end with partial-succeeded (flows)", _flag),
    Directive("replay", "PATH", "send a recording, e.g. 1.12.1/chat_stream", str),
    Directive("replay_speed", "X", "... in its own time, X times as fast", float),
)
_BY_NAME = {directive.name: directive for directive in DIRECTIVES}
# Where the value may be left out, what a bare name means.
_BARE = {"think": "whole", "tool": "call", "cite": "file", "paused": "api"}
_BARE |= dict.fromkeys(("stall", "mute", "drop", "rst", "eof"), "0")


@dataclass(frozen=True, slots=True)
class Script:
    """What the next answer does. The defaults are the demo's friendly answer."""

    n: int | None = None
    delay: float | None = None
    first: float = 0.0
    text: str | None = None
    call: str | None = None
    then: str | None = None
    again: str | None = None
    echo: bool = False
    prompt: bool = False
    empty: bool = False
    unicode: bool = False
    emoji: bool = False
    u2028: bool = False
    big: int | None = None
    tiny: int | None = None
    think: str | None = None
    reasoning: bool = False
    tool: str | None = None
    file: bool = False
    cite: str | None = None
    replace: str | None = None
    usage: str | None = None
    fail: str | None = None
    failafter: int | None = None
    errorhang: bool = False
    http: str | None = None
    hang: bool = False
    stall: int | None = None
    mute: int | None = None
    drop: int | None = None
    rst: int | None = None
    eof: int | None = None
    nostatus: bool = False
    garbage: bool = False
    split: int | None = None
    glue: int | None = None
    unknown: bool = False
    tts: bool = False
    retry: bool = False
    paused: str | None = None
    stopped: bool = False
    stoprace: bool = False
    partial: bool = False
    replay: str | None = None
    replay_speed: float | None = None


# A block starts with a letter, so "[[1, 2], [3, 4]]" in a question is only a question.
_BLOCK = re.compile(r'\[\[\s*(?=[a-z])((?:"(?:[^"\\]|\\.)*"|[^"\]]|\](?!\]))*)\]\]', re.DOTALL)
_WORD = re.compile(r'([a-z0-9_]+)(?:=("(?:[^"\\]|\\.)*"|\S+))?(?=\s|$)')


def parse_script(text: str) -> Script:
    """The last block counts: a client that sends its whole history repeats the blocks of earlier turns."""
    blocks = _BLOCK.findall(text)
    return Script(**_read_block(blocks[-1])) if blocks else Script()


def text_behind_directives(text: str) -> str:
    """What follows the block that counts; everything, if there is none."""
    *_, end = [0, *(block.end() for block in _BLOCK.finditer(text))]
    return text[end:]


def without_directives(text: str) -> str:
    """The text a model would care about."""
    return _BLOCK.sub("", text).strip()


def help_lines() -> Iterable[str]:
    """One line a directive, for --help and the README."""
    for directive in DIRECTIVES:
        yield f"{_usage(directive):<28} {directive.meaning}"


def markdown_table() -> str:
    """The README's table."""
    rows = (f"| `{_usage(row).replace('|', chr(92) + '|')}` | {row.meaning} |" for row in DIRECTIVES)
    return "\n".join(["| directive | effect |", "|---|---|", *rows])


def _usage(directive: Directive) -> str:
    if not directive.argument:
        return directive.name
    if directive.argument.startswith("["):
        return f"{directive.name}[={directive.argument[1:]}"
    return f"{directive.name}={directive.argument}"


def _read_block(block: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    position = 0
    block = block.strip()
    while position < len(block):
        match = _WORD.match(block, position)
        if match is None:
            raise UnknownDirective(f"cannot read the directive at {block[position : position + 30]!r}")
        values[match[1]] = _read_value(match[1], match[2])
        position = match.end() + len(block[match.end() :]) - len(block[match.end() :].lstrip())
    return values


def _read_value(name: str, argument: str | None) -> Any:
    directive = _BY_NAME.get(name)
    if directive is None:
        raise UnknownDirective(f"unknown directive {name!r}")
    if argument is None:
        argument = _BARE.get(name, "")
        if not argument and directive.read is not _flag:
            raise UnknownDirective(f"directive {name!r} needs a value ({directive.argument})")
    elif argument.startswith('"'):
        argument = json.loads(argument, strict=False)
    try:
        return directive.read(argument)
    except ValueError as error:
        raise UnknownDirective(f"directive {name}={argument}: {error}") from None


assert {field.name for field in fields(Script)} == set(_BY_NAME)
