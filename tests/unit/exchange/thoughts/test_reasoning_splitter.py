"""What of a model's text is thought and what is said, however it is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.exchange.answer import ReasoningDelta, TextDelta
from gateway.exchange.thoughts.reasoning_splitter import ReasoningSplitter

Told = tuple[list[str], str]  # the thoughts, the text

DETAILS = '<details style="color:gray;background-color: #f8f8f8;padding: 8px;" open> <summary> Thinking... </summary>'

# What models wrote → what they thought and what they said.
CORPUS: dict[str, Told] = {
    "": ([], ""),
    "Just an answer.": ([], "Just an answer."),
    "<think>\nHm, a question.\n</think>\n\nAn answer.": (["Hm, a question."], "An answer."),
    "<think>hm</think>An answer.": (["hm"], "An answer."),
    "<think>\n\n</think>\n\nAn answer.": ([], "An answer."),
    "<think></think>An answer.": ([], "An answer."),
    "\n<think>\nhm\n</think>\nAn answer.": (["hm"], "\nAn answer."),
    '<Think effort="high">\nhm\n</THINK >\nAn answer.': (["hm"], "An answer."),
    f"{DETAILS}hmm let me think</details>\n\nw1 w2 ": (["hmm let me think"], "w1 w2 "),
    f"A: {DETAILS}\nhm </think> hm\n</details>w1": (["hm </think> hm"], "A: w1"),
    "<details><summary>More</summary>text</details>": ([], "<details><summary>More</summary>text</details>"),
    # several
    "<think>one</think>first<think>two</think>second": (["one", "two"], "firstsecond"),
    "Let me look.<think>\nI need the clock.\n</think>\n\nIt is noon.": (
        ["I need the clock."],
        "Let me look.\n\nIt is noon.",
    ),
    "Answer: <think>\nhm\n</think>\n\n42": (["hm"], "Answer: 42"),
    "**Answer:** <think>\nhm\n</think>\n\n42": (["hm"], "**Answer:** 42"),
    "<think>one</think>\n\n<think>two</think>\n\nAn answer.": (["one", "two"], "An answer."),
    # without an end
    "<think>\nI have to stop he": (["I have to stop he"], ""),
    "Said.\n<think>\nstill thinking": (["still thinking"], "Said.\n"),
    "<think>\nhm </thi": (["hm </thi"], ""),
    "An answer. <thi": ([], "An answer. <thi"),
    "An answer. <think>": ([], "An answer. <think>"),
    # one in another
    "<think>a<think>b</think>c</think>An answer.": (["a<think>b</think>c"], "An answer."),
    "<think>\nI may write <think> here.\nDone.\n</think>\nAn answer.": (
        ["I may write <think> here.\nDone."],
        "An answer.",
    ),
    "<think>\nThe end is `</think>`, I think.\n</think>\nAn answer.": (
        ["The end is `</think>`, I think."],
        "An answer.",
    ),
    # a tool's call has cut the first one off; the model's and the plugin's own
    "<think>\nI need a tool.<think>\nNow I know.\n</think>\n\nAn answer.": (
        ["I need a tool.", "Now I know."],
        "An answer.",
    ),
    "<think>\n<think>\nhm\n</think>\n</think>\n\nAn answer.": (["hm"], "An answer."),
    # written about
    "The `<think>` tag opens a block, `</think>` ends it.": (
        [],
        "The `<think>` tag opens a block, `</think>` ends it.",
    ),
    "The <think> tag opens a block.\nNothing else.": ([], "The <think> tag opens a block.\nNothing else."),
    "Like so:\n```xml\n<think>\nhm\n</think>\n```\nSee?": ([], "Like so:\n```xml\n<think>\nhm\n</think>\n```\nSee?"),
    "~~~\n<think>hm</think>\n": ([], "~~~\n<think>hm</think>\n"),
    "```\ncode\n```\n<think>hm</think>So.": (["hm"], "```\ncode\n```\nSo."),
    '"<think>" is a tag': ([], '"<think>" is a tag'),
    "> <think>\n> hm\n> </think>": ([], "> <think>\n> hm\n> </think>"),
    "- <think>\n- </think>": ([], "- <think>\n- </think>"),
    "1. <think>\n2. </think>": ([], "1. <think>\n2. </think>"),
    "| <think>\n": ([], "| <think>\n"),
    "what (<think>hm</think>) says": ([], "what (<think>hm</think>) says"),
    "What was said before.\n</think>\n\nAn answer.": ([], "What was said before.\n</think>\n\nAn answer."),
    # what only looks like it
    "if a < b and c > d: <br> <thing> <t": ([], "if a < b and c > d: <br> <thing> <t"),
    "<" * 50: ([], "<" * 50),
    "日本 <think>\n考え\n</think>\n\n答え 😀": (["考え"], "日本 答え 😀"),
}


def split(pieces: list[str]) -> Told:
    splitter = ReasoningSplitter()
    told: list[TextDelta | ReasoningDelta] = []
    for piece in filter(None, pieces):
        told += [TextDelta(piece)] if splitter.lets_pass(piece) else splitter.feed(piece)
    told += splitter.end_piece()
    thoughts: list[str] = []
    for delta in told:
        assert delta.text
        if isinstance(delta, ReasoningDelta):
            thoughts += [""] if delta.begins else []
            thoughts[-1] += delta.text
    return thoughts, "".join(delta.text for delta in told if isinstance(delta, TextDelta))


@pytest.mark.parametrize("text", CORPUS)
def test_what_is_thought_and_what_is_said(text: str) -> None:
    assert split([text]) == CORPUS[text]


@pytest.mark.parametrize("text", CORPUS)
def test_every_cut_gives_the_same(text: str) -> None:
    for size in range(1, 12):
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        assert split(pieces) == CORPUS[text], size
    for cut in range(len(text)):
        assert split([text[:cut], text[cut:]]) == CORPUS[text], cut


PIECES = st.sampled_from(
    [
        *("<think>", "</think>", "<think>\n", "\n</think>\n\n", "<THINK a='b'>", "</think >", DETAILS, "</details>"),
        *(
            "<",
            "</",
            "<thi",
            "nk>",
            ">",
            "\n",
            "\n\n",
            " ",
            "`",
            "```\n",
            "```",
            "~~~\n",
            "> ",
            "- ",
            '"',
            "a",
            "bc",
            "é😀",
        ),
    ]
)


@given(st.lists(PIECES, max_size=25), st.data())
def test_any_cut_of_anything_gives_the_same(pieces: list[str], data: st.DataObject) -> None:
    text = "".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    cut = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert split(cut) == split([text])


@given(st.lists(st.text(st.characters(exclude_characters="<"), min_size=1, max_size=40), max_size=10))
def test_a_text_without_a_tag_is_said_as_it_is(pieces: list[str]) -> None:
    assert split(pieces) == ([], "".join(pieces))


@given(st.lists(st.one_of(PIECES, st.text(min_size=1)), max_size=20))
def test_nothing_is_lost_but_tags_and_blanks(pieces: list[str]) -> None:
    text = "".join(pieces)
    thoughts, said = split([text])
    left = iter(text)
    assert all(char in left for char in said)  # in its order
    for thought in thoughts:
        assert thought == thought.strip()
        assert thought in text


def test_a_piece_ends_the_block_that_is_open() -> None:
    splitter = ReasoningSplitter()
    first = splitter.feed("<think>\nI need a tool. </thi") + splitter.end_piece()
    assert first == [ReasoningDelta("I need a tool.", begins=True), ReasoningDelta(" </thi")]
    assert splitter.feed("It is noon.") == [TextDelta("It is noon.")]
    assert splitter.feed("\n</think>\nDone.") == [TextDelta("\n"), TextDelta("Done.")]


def test_a_plain_text_is_not_touched() -> None:
    splitter = ReasoningSplitter()
    assert splitter.lets_pass("plain")
    assert not splitter.lets_pass("a < b")
    splitter.feed("<thi")
    assert not splitter.lets_pass("plain")


def test_a_large_page_of_html_takes_no_time_to_speak_of() -> None:
    text = "<table><tr><td class='x'>a < b</td></tr></table>\n" * 4000
    splitter = ReasoningSplitter()
    told = splitter.feed(text) + splitter.end_piece()
    assert "".join(delta.text for delta in told) == text
