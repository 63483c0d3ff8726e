from __future__ import annotations

import sys
import tracemalloc
import unicodedata
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from gateway.exchange.memory import fingerprint, legacy_token
from gateway.exchange.memory.fingerprint import Transcript, system_fingerprint
from gateway.exchange.memory.keyed_hash import KeyedHash
from gateway.exchange.memory.zero_width import SYMBOLS, gap, hide
from gateway.exchange.turn import Message, Role

SYSTEM, USER, ASSISTANT, TOOL = Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL
HISTORY = [Message(USER, "one"), Message(ASSISTANT, "1"), Message(TOOL, "t"), Message(USER, "two")]

# Marks of several classes, characters that decompose or compose, line ends, and what must not be seen.
ODD = "ae \t\r\n\u0301\u0323\u0308\u0345\u0f71\u0f73\u0344\u1100\u1161\u11a8각éµﬁ①¨Ω你\u00a0\u3000\u2028\u200b\ufe00"
odd_texts = st.text(st.sampled_from(ODD), max_size=30)
ascii_texts = st.text(st.sampled_from([*map(chr, range(33)), "\x7f", "a"]) | st.characters(max_codepoint=127))
texts = odd_texts | st.text()
messages = st.builds(Message, st.sampled_from([USER, ASSISTANT, TOOL]), texts)
forms = st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"])


def of(text: str) -> bytes:
    return finger([Message(USER, text)])


def finger(history: Iterable[Message], key: bytes = b"") -> bytes:
    return Transcript(history, KeyedHash(key)).fingerprint()


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


# Pieces ------------------------------------------------------------------------------------------------------------


@given(texts, st.lists(st.integers(0, 30)), st.integers(1, 5))
@example("a\r\nb", [2], 1)
@example("e\u0323\u0301", [1, 2], 1)
def test_pieces_do_not_matter(answer: str, cuts: list[int], marks: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fingerprint, "_LONGEST_MARKS", marks + 40)  # below the longest run nothing is promised
        transcript = Transcript(HISTORY)
        for piece in pieces_of(answer, cuts):
            transcript.feed(piece)
        assert transcript.finish() == finger([*HISTORY, Message(ASSISTANT, answer)])


@given(texts | st.builds("<think>{}</think>{}".format, texts, texts), st.text())
def test_an_answer_that_is_there_as_a_whole_counts_instead_of_what_was_fed(answer: str, fed: str) -> None:
    transcript = Transcript(HISTORY)
    transcript.feed(fed)
    assert transcript.answered(answer) == finger([*HISTORY, Message(ASSISTANT, answer)])
    again = Transcript(HISTORY)
    again.feed(answer)
    assert again.finish() == transcript.fingerprint()


@given(odd_texts | ascii_texts | st.text("e\u0301\u0323\u0345", max_size=8), st.lists(st.integers(0, 30)))
@example("e\u0301\u0345\u0323", [3])  # the last mark goes before the two that came earlier
def test_a_text_that_is_there_as_a_whole_is_read_as_one_in_pieces(answer: str, cuts: list[int]) -> None:
    cut = fingerprint._LongText()
    for piece in pieces_of(answer, cuts):
        cut.feed(piece)
    assert cut.finish() == fingerprint._digest(answer)


def test_an_answer_of_many_blocks_is_the_same_in_one_piece_and_in_single_characters() -> None:
    answer = "Ein schöner Text, 你好。\r\n" * 2000 + "  \n" * 3000 + "und noch é"
    transcript = Transcript()
    for char in answer:
        transcript.feed(char)
    assert transcript.finish() == finger([Message(ASSISTANT, answer)])


def test_a_finished_answer_is_part_of_the_history() -> None:
    transcript = Transcript(HISTORY)
    transcript.feed("2")
    transcript.finish()
    transcript.add(Message(USER, "three"))
    assert transcript.fingerprint() == finger([*HISTORY, Message(ASSISTANT, "2"), Message(USER, "three")])


def test_an_unfinished_answer_does_not_count_yet() -> None:
    transcript = Transcript(HISTORY)
    transcript.feed("2")
    assert transcript.fingerprint() == finger(HISTORY)


@pytest.mark.parametrize("delta", ["word ", "   ", "é\u0323", "\u0301"])
def test_memory_does_not_grow_with_the_answer(delta: str) -> None:
    transcript = Transcript()
    tracemalloc.start()
    try:
        for _ in range(100):
            transcript.feed(delta * 1000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 120_000


# What clients change -----------------------------------------------------------------------------------------------


@given(texts, forms)
def test_normal_forms_do_not_matter(text: str, form: str) -> None:
    assert of(unicodedata.normalize(form, text)) == of(text)  # type: ignore[arg-type]


@given(
    texts, st.text(" \t\r\n\x0b\x0c\x85\xa0\u2028\u3000\ufeff"), st.text(" \t\r\n\x0b\x0c\x85\xa0\u2028\u3000\ufeff")
)
def test_white_space_around_a_message_does_not_matter(text: str, before: str, after: str) -> None:
    assume(not unicodedata.combining(text[:1] or "a"))  # a space with an accent is a visible character
    assert of(before + text + after) == of(text)


@given(st.lists(st.text("ab \u0301"), min_size=1))
def test_line_ends_do_not_matter(lines: list[str]) -> None:
    assert of("\r\n".join(lines)) == of("\n".join(lines)) == of("\r".join(lines))


@given(texts)
def test_dropped_invisible_characters_do_not_matter(text: str) -> None:
    invisible = "\u200b\u200c\u200d\ufeff\u2060\u00ad\ufe0f\u200e\x00\x1b\U000e0041"
    assert of(text.translate(dict.fromkeys(map(ord, invisible)))) == of(text)


@pytest.mark.parametrize(
    "ends",
    [
        *("\x00\x08", "\x0e\x1f", "\x7f\x84", "\x86\x9f", "\u00ad", "\u034f", "\u061c", "\u115f\u1160", "\u17b4\u17b5"),
        *("\u180b\u180f", "\u200b\u200f", "\u202a\u202e", "\u2060\u206f", "\u3164", "\ufe00\ufe0f", "\ufeff", "\uffa0"),
        *("\ufff0\ufff8", "\ufffd", "\ud800\udfff", "\U0001bca0\U0001bca3", "\U0001d173\U0001d17a"),
        "\U000e0000\U000e0fff",
    ],
    ids=ascii,
)
def test_no_invisible_character_matters(ends: str) -> None:
    text = "".join(f"a{chr(code)}b" for code in range(ord(ends[0]), ord(ends[-1]) + 1))
    assert of(text) == of("ab" * (len(text) // 3))


def test_no_visible_character_decomposes_into_an_invisible_one() -> None:
    # They are dropped before characters are decomposed.
    for char in map(chr, range(sys.maxunicode + 1)):
        if not fingerprint._INVISIBLE.fullmatch(char):
            assert not fingerprint._INVISIBLE.search(unicodedata.normalize("NFKD", char)), hex(ord(char))


def test_all_symbols_of_tokens_are_invisible() -> None:
    assert fingerprint._INVISIBLE.fullmatch(SYMBOLS + legacy_token.ALPHABET)


@pytest.mark.parametrize("answer", ["Hello", "```\nx\n```", "**Note:**", "see https://example.com"])
def test_the_token_behind_an_answer_does_not_matter(answer: str) -> None:
    assert of(answer + gap(answer) + hide(b"x" * 53)) == of(answer)
    assert of(answer + legacy_token.ALPHABET * 12) == of(answer)


THOUGHTS = "<think>\nWell.\n\nHm?\n</think>\n\n"


@pytest.mark.parametrize("before", [THOUGHTS, " \r\n" + THOUGHTS, THOUGHTS * 3, f"<think>{'x' * 9000}</think>\r\n"])
@pytest.mark.parametrize("answer", ["Nice.", "", "<", "<thin air>", "the tag <think>x</think> is", "</think>"])
@given(st.lists(st.integers(0, 60)))
def test_thoughts_that_an_answer_begins_with_do_not_matter(before: str, answer: str, cuts: list[int]) -> None:
    # Shown inline they are text to some clients, who send them back, and no text to others, who do not.
    transcript = Transcript(HISTORY)
    for piece in pieces_of(before + answer, cuts):
        transcript.feed(piece)
    assert transcript.finish() == finger([*HISTORY, Message(ASSISTANT, answer)])
    assert finger([Message(ASSISTANT, before + answer)]) == finger([Message(ASSISTANT, answer)])


def test_an_answer_that_was_cut_while_it_was_thought_says_nothing() -> None:
    assert finger([Message(ASSISTANT, "<think>\nWell")]) == finger([Message(ASSISTANT, "")])


# What must be noticed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        ("one", "One"),
        ("one two", "onetwo"),
        ("one two", "one  two"),
        ("if a:\n    b", "if a:\n  b"),
        ("a\nb", "a b"),
        ("a\nb", "a\n\nb"),
        ("e", "é"),
        ("x\u0323\u0301y", "x\u0301y"),
        ("a\u0301\u0300", "a\u0300\u0301"),
        ("one.", "one"),
        ("one", ""),
        ("<think>one</think>two", "two"),  # a user's words
    ],
)
def test_an_edited_message_is_noticed(text: str, edited: str) -> None:
    assert of(text) != of(edited)


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1), st.data())
def test_every_other_visible_text_is_noticed(text: str, data: st.DataObject) -> None:
    edited = data.draw(st.text(st.characters(categories=["L", "N", "P", "S"])))
    assume(unicodedata.normalize("NFKD", text).strip() != unicodedata.normalize("NFKD", edited).strip())
    assume(not fingerprint._INVISIBLE.search(text + edited))
    assert of(text) != of(edited)


@given(st.lists(messages, min_size=1, max_size=5), messages, st.data())
def test_an_inserted_or_deleted_message_is_noticed(history: list[Message], new: Message, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(history)))
    assert finger([*history[:at], new, *history[at:]]) != finger(history)


@given(st.lists(messages, min_size=1, max_size=5), st.data())
def test_a_changed_role_is_noticed(history: list[Message], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(history) - 1))
    role = data.draw(st.sampled_from([role for role in (USER, ASSISTANT, TOOL) if role is not history[at].role]))
    assert finger([*history[:at], Message(role, history[at].text), *history[at + 1 :]]) != finger(history)


def test_words_between_tags_are_noticed_behind_text() -> None:
    answers = ["On <think>a</think>.", "On <think>b</think>.", "On .", "<thin>On</thin>", "On", "<think"]
    assert len({finger([Message(ASSISTANT, answer)]) for answer in answers}) == len(answers)


def test_two_messages_are_not_one_and_their_order_counts() -> None:
    assert finger([Message(USER, "a"), Message(USER, "b")]) != finger([Message(USER, "ab")])
    assert finger([Message(USER, "a"), Message(USER, "b")]) != finger([Message(USER, "b"), Message(USER, "a")])
    assert finger([Message(USER, "")]) != finger([])


def test_another_key_gives_another_fingerprint() -> None:
    assert finger(HISTORY, b"one") != finger(HISTORY, b"two")
    said = [Message(SYSTEM, "s")]
    assert system_fingerprint(said, KeyedHash(b"one")) != system_fingerprint(said, KeyedHash(b"two"))


def test_the_fingerprint_does_not_change_by_accident() -> None:
    # Tokens in clients' histories hold it: another value starts every conversation anew.
    assert finger([Message(USER, " Grüße ①\r\n"), Message(ASSISTANT, "é")], b"key").hex() == "736c5a7386bc509d"
    assert system_fingerprint([Message(SYSTEM, "Be brief.")], KeyedHash(b"key")).hex() == "2efd"
    assert system_fingerprint([Message(SYSTEM, "Be brief."), *HISTORY, Message(SYSTEM, "é")]).hex() == "50cd"
    assert system_fingerprint(HISTORY, KeyedHash(b"key")).hex() == "4e70"


# System messages ---------------------------------------------------------------------------------------------------


def test_system_text_changes_only_its_own_fingerprint() -> None:
    morning, evening = [[Message(SYSTEM, f"It is {time}."), *HISTORY] for time in ("8:00", "20:00")]
    assert finger(morning) == finger(evening) == finger(HISTORY)
    assert system_fingerprint(morning) != system_fingerprint(evening)
    assert system_fingerprint(HISTORY) == system_fingerprint([])
    assert system_fingerprint(morning) == system_fingerprint([Message(SYSTEM, "It is 8:00.\r\n")])


def test_the_sizes_are_those_of_a_token() -> None:
    assert len(finger(HISTORY)) == fingerprint.FINGERPRINT_BYTES
    assert len(system_fingerprint(HISTORY)) == fingerprint.SYSTEM_FINGERPRINT_BYTES
