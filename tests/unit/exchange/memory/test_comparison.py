"""Whether Dify's conversation is what a client shows, told from the texts alone."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.exchange.memory.comparison import PastTurn, system_text_told
from gateway.exchange.memory.fingerprint import seen
from gateway.exchange.memory.prompt_history import PromptHistory
from gateway.exchange.turn import Message, Role, ToolCall

TEXTS = st.text("ab é你\n.-", min_size=1).filter(lambda text: bool(seen(text)))
TURNS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5)


def shown(*turns: tuple[str, str]) -> tuple[Message, ...]:
    return tuple(
        Message(role, text) for turn in turns for role, text in zip((Role.USER, Role.ASSISTANT), turn, strict=True)
    )


def stored(*turns: tuple[str, str]) -> list[PastTurn]:
    return [PastTurn(*turn) for turn in turns]


CHAT = (("My cat is Tom.", "Nice."), ("He is 3.", "So young!"), ("Why?", "Because."))


@given(TURNS, st.booleans())
def test_the_same_turns_are_the_same(turns: list[tuple[str, str]], is_all: bool) -> None:
    assert system_text_told(shown(*turns), stored(*turns), is_all) == ""
    assert system_text_told(shown(*turns), stored(*turns), is_all, is_bare=True) == ""


@given(TURNS, st.data())
def test_an_edited_turn_is_seen_wherever_it_is(turns: list[tuple[str, str]], data: st.DataObject) -> None:
    at, side = data.draw(st.integers(0, len(turns) - 1)), data.draw(st.integers(0, 1))
    text = data.draw(TEXTS)
    edited = list(turns)
    edited[at] = (text, turns[at][1]) if side == 0 else (turns[at][0], text)
    assume(seen(turns[at][side]) != seen(text))
    assert system_text_told(shown(*edited), stored(*turns), is_all=True, is_bare=True) is None
    if not seen(turns[at][side]).endswith(seen(text)):
        assert system_text_told(shown(*edited), stored(*turns), is_all=True) is None


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_a_conversation_that_holds_more_is_another_one(kept: int) -> None:
    assert system_text_told(shown(*CHAT[:kept]), stored(*CHAT), is_all=True) is None


@pytest.mark.parametrize("dropped", [1, 2])
def test_one_that_holds_less_began_with_the_rest(dropped: int) -> None:
    history = shown(*CHAT)
    folded = PromptHistory().fold(history[: 2 * dropped + 1]).query
    past = stored((folded, CHAT[dropped][1]), *CHAT[dropped + 1 :])
    assert system_text_told(history, past, is_all=True) == ""
    assert system_text_told(shown(("My dog is Tom.", "Nice."), *CHAT[1:]), past, is_all=True) is None
    # Without its begin there is nothing that could tell of the rest.
    assert system_text_told(history, stored(*CHAT[dropped:]), is_all=False) == ""
    assert system_text_told(history, stored(*CHAT[dropped:]), is_all=True) is None


def test_nothing_is_not_the_same() -> None:
    assert system_text_told(shown(*CHAT), [], is_all=True) is None
    assert system_text_told((), [], is_all=True) is None


def test_a_greeting_of_the_front_end_is_part_of_the_first_question() -> None:
    history = (Message(Role.ASSISTANT, "Welcome!"), *shown(*CHAT))
    first = PromptHistory().fold(history[:2]).query
    assert system_text_told(history, stored((first, "Nice."), *CHAT[1:]), is_all=True) == ""
    assert system_text_told(history, stored(*CHAT), is_all=True) is None


SPELLINGS = {
    "trimmed": str.strip,
    "composed": lambda text: unicodedata.normalize("NFC", text),
    "line ends": lambda text: text.replace("\n", "\r\n"),
    "thoughts": lambda text: f"<think>Well,\nhm.</think>\n{text}",
    "thoughts of old": lambda text: f"<details open> <summary> Thinking... </summary>Hm.\nHm.</details>{text}",
    "an agent's pieces": lambda text: text.replace(" ", "\n"),
}


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
def test_an_answer_may_be_stored_in_other_words(spell) -> None:  # type: ignore[no-untyped-def]
    answer = "Cafe\u0301 au lait \nand more \n"
    assert system_text_told(shown(("Hm?", answer)), stored(("Hm?", spell(answer))), is_all=True) == ""


def test_an_answer_that_calls_tools_is_stored_in_words_of_its_own() -> None:
    question, answer = shown(("His name?", ""))
    calling = replace(answer, tool_calls=(ToolCall("look", "{}", "call_1"),))
    past = stored(("Tools: look\n\nHis name?", "<call>look</call>"))
    assert system_text_told((question, calling), past, is_all=True) == seen("Tools: look")
    assert system_text_told((question, answer), past, is_all=True) is None


def test_the_latest_system_text_is_told() -> None:
    history = (Message(Role.SYSTEM, "Be long."), *shown(*CHAT))
    queries = ["Be brief.\n\nMy cat is Tom.", "He is 3.", "Why?"]
    answers = [answer for _, answer in CHAT]
    assert system_text_told(history, stored(*zip(queries, answers, strict=True)), is_all=True) == seen("Be brief.")
    queries[1] = "Be kind.\n\nHe is 3."
    assert system_text_told(history, stored(*zip(queries, answers, strict=True)), is_all=True) == seen("Be kind.")
