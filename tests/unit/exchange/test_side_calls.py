"""Which requests a front end makes for itself; and that people may write what they like."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.exchange.side_calls import TASKS, recognise
from gateway.exchange.turn import Message, Role, Turn

CHAT = 'USER: How do I boil an egg?\nASSISTANT: Six minutes. { "a": 1 } <b>### Output:</b>\n### Task: none'


def open_webui(task: str, output: str, *, chat: str = CHAT, behind: str = "") -> str:
    """The front end's template in other words, but of its shape."""
    return (
        f'### Task:\n{task}\n### Guidelines:\n- Be brief, e.g. {{ "x": [] }}.\n- Use the chat\'s language.\n\n'
        f"### Output:\n{output}\n### Notes:\nNone.\n"
        f"### Chat History:\n<chat_history>\n{chat}\n</chat_history>{behind}"
    )


AUTOCOMPLETION = (
    "### Task:\nYou are an autocompletion system. Go on with the text.\n\n### **Instructions**:\n1. Read.\n\n"
    '### **Output Rules**:\n- Respond only in JSON format: `{ "text": "<your_completion>" }`.\n\n'
    '### **Examples**:\n<type>General</type>\n<text>The sun</text>\nOutput:\n{ "text": "sets" }\n\n---\n### Context:\n'
    f"<chat_history>\n{CHAT}\n</chat_history>\n<type>search query</type>\n<text>boil an</text>\n#### Output:\n"
)
STRUCTURED_TITLE = (
    "Analyze this conversation and provide:\n1. The detected language of the conversation\n"
    "2. A short title in that language\n\nUser: How do I boil an egg?\nAI: Six minutes."
)
PLAIN_TITLE = (
    "Provide a concise, 5-word-or-less title for the conversation, in title case. Nothing else.\n\n"
    "Conversation:\nUser: How do I boil an egg?\nAI: Six minutes."
)
OLD_TITLE = (
    "Please generate a concise, 5-word-or-less title for the conversation, using its same language.\n\n"
    '||>User:\n"How do I boil an egg?"\n||>Response:\n"Six minutes."\n\n||>Title:'
)

ASKED = {
    "title": open_webui("Name the chat.", 'JSON format: { "title": "a name" }'),
    "title, reworded": open_webui("Wie heißt der Chat?", '```json\n{"title" : "…"}\n```'),
    "tags": open_webui("Give 1-3 broad tags.", 'JSON format: { "tags": ["tag1", "tag2"] }'),
    "follow_ups": open_webui("Suggest questions.", 'JSON format: { "follow_ups": ["Why?"] }'),
    "search_queries": open_webui("Search?", 'Strictly return in JSON format: \n{\n  "queries": ["q"]\n}', behind="\n"),
    "image_prompt": open_webui("Describe a picture.", 'Strictly return in JSON format:\n{\n    "prompt": "A cat."\n}'),
    "autocompletion": AUTOCOMPLETION,
    "emoji": 'Your task is to reflect the speaker in a fitting emoji (e.g., 😊).\n\nMessage: """Hm"""',
    "title, structured": STRUCTURED_TITLE,
    "title, plain": PLAIN_TITLE,
    "title, old": OLD_TITLE,
}


def turn(text: str, *, system: str = "", stream: bool = False) -> Turn:
    before = [Message(Role.SYSTEM, system)] if system else []
    return Turn("app", (*before, Message(Role.USER, text)), stream=stream)


@pytest.mark.parametrize("kind", ASKED)
@pytest.mark.parametrize("system", ["", "Be brief."])
def test_a_side_call_is_recognised(kind: str, system: str) -> None:
    assert recognise(turn(ASKED[kind], system=system)) == kind.partition(",")[0]
    assert recognise(turn(f"\n{ASKED[kind]}\n")) == kind.partition(",")[0]


def test_the_choice_of_a_tool_is_told_by_its_system_text() -> None:
    text = 'Query: History:\nUSER: """Hi"""\nQuery: What is the weather?'
    assert recognise(turn(text, system='Available Tools: [{"name": "weather"}]\nChoose.')) == "tool_choice"
    assert recognise(turn(text, system="Be brief.")) is None


def test_librechats_oldest_titles_are_the_systems_word() -> None:
    assert recognise(Turn("app", (Message(Role.SYSTEM, OLD_TITLE),))) == "title"


def test_a_title_from_librechat_may_stream_and_one_from_open_webui_does_not() -> None:
    assert recognise(turn(PLAIN_TITLE, stream=True)) == "title"
    assert recognise(turn(ASKED["title"], stream=True)) is None


PEOPLE = {
    "a heading": "### Task:\nWrite a title for my essay on eggs.",
    "a whole template of one's own": '### Task:\nName it.\n### Output:\nJSON format: { "title": "x" }',
    "a question about the template": f"What does this mean?\n\n{ASKED['title']}",
    "a question behind the template": f"{ASKED['title']}\n\nWhat does this mean?",
    "the output in the chat only": '### Task:\nx\n<chat_history>\n### Output:\n{ "title": 1 }\n</chat_history>',
    "another field": ASKED["title"].replace('"title"', '"headline"'),
    "no chat": ASKED["title"].replace("<chat_history>", "<history>"),
    "a title, please": "Provide a concise, 5-word-or-less title for the conversation we just had.",
    "an analysis, please": "Analyze this conversation and provide: 1. The detected language 2. The mood",
    "a begin that is its own end": 'Your task is to reflect the speaker, with an emoji.\nMessage: """',
    "nothing": "",
    "a greeting": "Hello!",
}


@pytest.mark.parametrize("text", PEOPLE.values(), ids=PEOPLE)
def test_people_are_not_taken_for_programs(text: str) -> None:
    assert recognise(turn(text)) is None


@pytest.mark.parametrize("kind", ASKED)
def test_in_a_chat_it_is_a_turn(kind: str) -> None:
    before = (Message(Role.USER, "Hi"), Message(Role.ASSISTANT, "Hello"))
    assert recognise(Turn("app", (*before, Message(Role.USER, ASKED[kind])))) is None
    assert recognise(Turn("app", (Message(Role.TOOL, ASKED[kind]),))) is None


@pytest.mark.parametrize("kind", ASKED)
@given(st.text(max_size=80))
def test_what_was_said_in_the_chat_changes_nothing(kind: str, said: str) -> None:
    for place in ("Six minutes.", "USER: How"):
        if place in ASKED[kind]:
            assert recognise(turn(ASKED[kind].replace(place, f"{place}{said}"))) == kind.partition(",")[0]


@pytest.mark.parametrize(
    "piece",
    ["\n### Output:", '{ "title": ', '\n### Output: { "title": 1 }<chat_history>', "#", " ", "\n", "{", "<text>"],
)
def test_a_hostile_text_takes_no_time(piece: str) -> None:
    text = "### Task:\n\n### Output:" + piece * (1_000_000 // len(piece))
    begin = time.process_time()
    recognise(turn(text + "</chat_history>"))
    assert time.process_time() - begin < 2.0  # a hundred times what it takes; growing with the square it were minutes


def test_every_task_has_a_label_of_one_word() -> None:
    assert {kind.partition(",")[0] for kind in ASKED} | {"tool_choice"} == set(TASKS)
