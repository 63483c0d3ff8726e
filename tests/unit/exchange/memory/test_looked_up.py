"""A question is the same with what a front end has looked up for it, and without."""

from __future__ import annotations

import pytest

from gateway.exchange.memory.looked_up import bare_question

TEMPLATE = (
    "### Task:\nRespond to the user query using the provided context.\n\n### Guidelines:\n- Be brief.\n\n"
    '<context>\n<source id="1" name="cats.md">Tom is a cat.</source>\n</context>\n\n'
)


@pytest.mark.parametrize("question", ["Who is Tom?", "Who\nis <context>?", "### Task:\nWhat is it?"])
def test_the_question_is_left(question: str) -> None:
    assert bare_question(TEMPLATE + question) == question
    assert bare_question(f"{TEMPLATE}<user_query>\n{question}\n</user_query>\n").strip() == question
    assert bare_question(f"Be kind.\n\n{TEMPLATE}{question}") == f"Be kind.\n\n{question}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Who is Tom?",
        "### Task:\nTell me of <context>Tom</context>.",
        TEMPLATE.replace("</context>", ""),
        TEMPLATE.replace("<context>", ""),
    ],
)
def test_other_words_are_a_persons(text: str) -> None:
    assert bare_question(text) == text


def test_a_hostile_text_takes_no_time() -> None:
    assert bare_question(TEMPLATE[:64] * 100_000) == TEMPLATE[:64] * 100_000
