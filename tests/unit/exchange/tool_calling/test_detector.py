"""Calls are found, and text is not held back, however the answer is cut."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.exchange.tool_calling.detector import CallBegins, CallDetector, CallEnds, CallText, Piece, Said
from tests.unit.exchange.tool_calling.corpus import CALL_OSLO, CORPUS, SYNTAX, Output, tagged


def joined(pieces: Iterable[Piece]) -> list[Piece]:
    """The same with neighbouring texts made one."""
    made: list[Piece] = []
    for piece in pieces:
        last = made[-1] if made else None
        if isinstance(piece, Said) and isinstance(last, Said):
            made[-1] = Said(last.text + piece.text)
        elif isinstance(piece, CallText) and isinstance(last, CallText):
            made[-1] = CallText(last.text + piece.text)
        else:
            made.append(piece)
    return made


def detect(chunks: Iterable[str]) -> list[Piece]:
    detector = CallDetector(SYNTAX)
    return joined([piece for chunk in chunks for piece in detector.feed(chunk)] + detector.finish())


def cut(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


@pytest.mark.parametrize("output", CORPUS, ids=lambda output: output.about)
def test_what_is_said_is_what_a_client_is_to_see(output: Output) -> None:
    assert "".join(piece.text for piece in detect([output.text]) if isinstance(piece, Said)) == output.said


@pytest.mark.parametrize("output", CORPUS, ids=lambda output: output.about)
def test_every_split_gives_the_same(output: Output) -> None:
    text, whole = output.text, detect([output.text])
    for place in range(min(len(text), 600)):
        assert detect([text[:place], text[place:]]) == whole
    for size in (1, 2, 3, 5, 7, 11):
        assert detect(cut(text, size)) == whole


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_split_of_any_mixture_gives_the_same(data: st.DataObject) -> None:
    text = "".join(output.text for output in data.draw(st.lists(st.sampled_from(CORPUS[:-12]), max_size=4)))
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    assert detect(text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)) == detect([text])


ATOMS = [*SYNTAX.opening, SYNTAX.opening, SYNTAX.closing, "</tool_call>", "```", "```json\n", "{", "}", "[", "]", '"']
ATOMS += ["\\", "\n", " ", "weather", '"name":', ",", "\x00", "é", "<", ">"]


@given(st.lists(st.sampled_from(ATOMS), max_size=40), st.integers(1, 9))
@settings(max_examples=300, deadline=None)
def test_garbage_is_read_alike_at_every_split_and_never_raises(atoms: list[str], size: int) -> None:
    text = "".join(atoms)
    whole = detect([text])
    assert detect(cut(text, size)) == whole
    kinds = [type(piece) for piece in whole]
    assert kinds.count(CallBegins) <= kinds.count(CallEnds)


@given(st.text(st.characters(exclude_characters="<`"), min_size=1), st.booleans())
@settings(max_examples=200, deadline=None)
def test_text_that_cannot_begin_a_call_passes_in_the_same_feed(text: str, begun: bool) -> None:
    detector = CallDetector(SYNTAX)
    if begun:
        detector.feed("So ")
    elif text.isspace():
        text += "x"  # white space before anything was said may come before a call
    assert detector.feed(text) == [Said(text)]


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("a < b", "a < b"),  # settled by the blank
        ("see <b", "see <b"),
        ("see <tool_cat", "see <tool_cat"),
        ("see <", "see "),
        ("see <tool_call_", "see "),
        ("see `", "see "),
        ("see ```py", "see "),
        ("see ```py\nx", "see ```py\nx"),
        ("see `x", "see `x"),
    ],
)
def test_only_what_may_begin_a_call_is_held_back(text: str, passes: str) -> None:
    assert CallDetector(SYNTAX).feed(text) == [Said(passes)]


@given(st.lists(st.sampled_from([*ATOMS, "word ", "x"]), max_size=30))
@settings(max_examples=200, deadline=None)
def test_what_passes_by_is_what_would_be_said(atoms: list[str]) -> None:
    """The way for text around the detector makes no difference."""
    detector, pieces = CallDetector(SYNTAX), list[Piece]()
    for atom in atoms:
        pieces += [Said(atom)] if detector.lets_pass(atom) else detector.feed(atom)
    assert joined([*pieces, *detector.finish()]) == detect(atoms)


def test_plain_words_pass_by_once_something_was_said() -> None:
    detector = CallDetector(SYNTAX)
    assert not detector.lets_pass("So ")
    detector.feed("So ")
    assert detector.lets_pass("it is")
    detector.feed(tagged("[[{"))
    assert not detector.lets_pass("it is")


def test_a_call_is_told_as_it_comes() -> None:
    detector = CallDetector(SYNTAX)
    assert detector.feed(tagged('[[\n{"name":')) == [CallBegins(""), CallText('{"name":')]
    assert detector.feed('"clock"}') == [CallText('"clock"}'), CallEnds()]


def test_the_next_answer_is_read_afresh() -> None:
    detector = CallDetector(SYNTAX)
    detector.feed(tagged('Text. [[{"name":'))
    detector.finish()
    assert joined([*detector.feed(tagged(f"\n[[{CALL_OSLO}")), *detector.finish()]) == [
        CallBegins(""),
        CallText(CALL_OSLO),
        CallEnds(),
    ]
