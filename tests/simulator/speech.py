"""The model's part: which tokens a script says, at what pace, and where it breaks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.simulator.script import Script, without_directives
from tests.simulator.steps import Break, Silence, Step, Turn, Wait
from tests.simulator.tools import say_as_told

DEMO_DELAY = 0.03

# Scripts, joined emoji, a line separator, controls and quotes: what breaks readers that split or escape by hand.
UNICODE_TOKENS = (
    *("日本", "語と", "中文", "混在", " 😀", "👩‍👩‍👧‍👦", " é", "ñ", "ü ", "\u2028"),
    *("العربية ", "\u200b", "한국어", " 🚀", "\x07", "\t", '\\n "q" </script>', "終"),
)
EMOJI_TOKENS = ("😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇺🇳", "👍🏽", "1️⃣", "🚀")
U2028_TOKENS = ("line\u2028", "para\u2029", "bom\ufeff", "nel\u0085", "end")
THOUGHTS = ("hmm ", "let me ", "think")
_DETAILS = (
    '<details style="color:gray;background-color: #f8f8f8;padding: 8px;border-radius: 4px;" open>'
    " <summary> Thinking... </summary>"
)


@dataclass(frozen=True, slots=True)
class Token:
    text: str


@dataclass(frozen=True, slots=True)
class Failure:
    """The provider gave up here."""


def speak(turn: Turn) -> Iterator[Token | Failure | Step]:
    """Tokens with their pauses and faults. The last item is a Failure if the script wants one."""
    script = turn.script
    tokens = (*thinking(turn), *answer_tokens(turn))
    delay = script.delay if script.delay is not None else (DEMO_DELAY if _is_demo(script) else 0.0)
    fails_at = _failure_position(script)
    if script.first:
        yield Wait(script.first)
    for count, text in enumerate((*tokens, None)):
        yield from _faults(script, count, last=text is None)
        if fails_at is not None and (count == fails_at or text is None):
            yield Failure()
            return
        if text is None:
            return
        if count and delay:
            yield Wait(delay)
        yield Token(text)


def answer_tokens(turn: Turn) -> tuple[str, ...]:
    """The answer proper, cut as a model would cut it."""
    script = turn.script
    if (told := say_as_told(turn.query, script)) is not None:
        return words(told)
    if script.empty:
        return ()
    if script.big is not None:
        return (("0123456789abcdef" * (script.big // 16 + 1))[: script.big],)
    if script.tiny is not None:
        return ("x",) * script.tiny
    for wanted, tokens in (
        (script.unicode, UNICODE_TOKENS),
        (script.emoji, EMOJI_TOKENS),
        (script.u2028, U2028_TOKENS),
    ):
        if wanted:
            return tokens
    if script.n is not None:
        return tuple(f"w{number} " for number in range(1, script.n + 1))
    if script.text is not None:
        return words(script.text)
    if script.echo:
        return words(without_directives(turn.query))
    if script.prompt:
        return (prompt_of(turn),)
    if script.fail is not None:
        return tuple(f"w{number} " for number in range(1, 9))
    return words(_friendly_answer(turn))


def thinking(turn: Turn) -> tuple[str, ...]:
    """Thoughts inside the answer, in the tags of the release."""
    script = turn.script
    if script.think is None and not (script.reasoning and not shows_reasoning_events(turn)):
        return ()
    if turn.profile.html_thinking:
        return (_DETAILS, *THOUGHTS, "</details>", "\n\n")
    if script.think == "split":
        return ("<thi", "nk>", *THOUGHTS, "</", "thin", "k>", "\n\n")
    return ("<think>", *THOUGHTS, "</think>", "\n\n")


def shows_reasoning_events(turn: Turn) -> bool:
    return turn.profile.reasoning_chunks and turn.app.mode in ("advanced-chat", "workflow")


def prompt_of(turn: Turn) -> str:
    """What the model is sent, as one JSON text: earlier turns, then the query with its inputs and files."""
    last: dict[str, object] = {"role": "user", "content": turn.query}
    if turn.inputs:
        last["inputs"] = dict(turn.inputs)
    if turn.files:
        last["files"] = [dict(file) for file in turn.files]
    earlier = [{"role": message.role, "content": message.content} for message in turn.history]
    return json.dumps([*earlier, last], ensure_ascii=False)


def words(text: str) -> tuple[str, ...]:
    """The text in pieces that end after white space; joined they are the text again."""
    return tuple(re.findall(r"\s*\S+\s*|\s+", text))


def prompt_tokens(turn: Turn) -> int:
    """A guess good enough for usage."""
    return 10 + len(turn.query.split()) + sum(len(message.content.split()) + 4 for message in turn.history)


def _friendly_answer(turn: Turn) -> str:
    said = " ".join(without_directives(turn.query).split())
    shown = said if len(said) <= 200 else said[:199] + "…"
    return (
        f"Hello from {turn.app.name}! You said: “{shown}”. "
        "I am a simulated Dify app, so this is all I know, but it streams like the real thing."
    )


def _is_demo(script: Script) -> bool:
    """No directive that shapes the text: a person is reading along."""
    return script == Script()


def _failure_position(script: Script) -> int | None:
    if script.fail is None:
        return None
    if script.failafter is not None:
        return script.failafter
    return 3 if script.fail == "cut" else 0


def _faults(script: Script, count: int, last: bool) -> Iterator[Step]:
    """The faults due after `count` tokens; those due after more tokens than there are come at the end."""

    def due(position: int | None) -> bool:
        return position is not None and (count == position or (last and position > count))

    if due(script.stall):
        yield Silence(pings=True)
    if due(script.mute):
        yield Silence(pings=False)
    for how, position in (("drop", script.drop), ("rst", script.rst), ("eof", script.eof)):
        if due(position):
            yield Break(how)
