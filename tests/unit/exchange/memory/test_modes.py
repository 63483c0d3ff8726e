from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.exchange.memory import modes
from gateway.exchange.memory.modes import MEMORY_MODES
from gateway.exchange.memory.named import NamedThread
from gateway.exchange.memory.thread import Scope, Thread
from gateway.exchange.memory.zero_width import hide, strip
from gateway.exchange.turn import Message, Prompt, Role, Turn

TEXTS = st.text(max_size=20) | st.binary(min_size=1, max_size=60).map(hide) | st.text("a \u200b\u2060\ufe00\ufe01")
TURNS = st.lists(st.builds(Message, st.sampled_from(Role), TEXTS), min_size=1, max_size=6).map(
    lambda messages: Turn("m", tuple(messages))
)


def turn(*messages: tuple[Role, str]) -> Turn:
    return Turn("m", tuple(Message(role, text) for role, text in messages))


def recall(mode: int, asked: Turn) -> Thread:
    return MEMORY_MODES[mode].recall(asked, Scope("app-key", "ann"))


def test_each_mode_says_what_it_means() -> None:
    names = {mode: memory.meaning.partition(": ")[0] for mode, memory in MEMORY_MODES.items()}
    assert names == {0: "stateless", 1: "prompt_history", 2: "hidden_id"}


@pytest.mark.parametrize("mode", MEMORY_MODES)
@pytest.mark.parametrize("text", ["hi", " two\n lines ", "<user>\nhi\n</user>", "\u2028\x85"])
def test_a_single_message_is_sent_as_it_is(mode: int, text: str) -> None:
    if text.strip():
        assert recall(mode, turn((Role.USER, text))).prompt == Prompt(text)


@pytest.mark.parametrize("mode", MEMORY_MODES)
def test_system_text_goes_ahead_of_the_question(mode: int) -> None:
    asked = turn((Role.SYSTEM, "Be brief."), (Role.USER, "hi"), (Role.SYSTEM, "In French."))
    assert recall(mode, asked).prompt.query == "Be brief.\n\nIn French.\n\nhi"


@pytest.mark.parametrize("mode", MEMORY_MODES)
def test_system_text_alone_is_a_query(mode: int) -> None:
    assert recall(mode, turn((Role.SYSTEM, "Tell a joke."))).prompt.query == "Tell a joke."


@pytest.mark.parametrize("mode", MEMORY_MODES)
@pytest.mark.parametrize("text", ["", " \n", hide(b"token")])
def test_without_any_text_there_is_no_query(mode: int, text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        recall(mode, turn((Role.SYSTEM, ""), (Role.USER, text)))
    assert caught.value.param == "messages"
    with pytest.raises(InvalidRequest):
        recall(mode, turn((Role.USER, text)))


@pytest.mark.parametrize("mode", MEMORY_MODES)
@given(TURNS)
def test_a_query_is_never_empty_and_hides_nothing(mode: int, asked: Turn) -> None:
    try:
        thread = recall(mode, asked)
    except InvalidRequest as error:
        assert error.param == "messages"  # noqa: PT017 - either outcome is fine
    else:
        assert thread.prompt.query.strip()
        assert strip(thread.prompt.query) == thread.prompt.query
        assert thread.prompt.conversation_id is None  # nobody has signed anything
        assert thread.last_message_id is None
        assert thread.user == "ann"


def test_what_the_client_names_goes_before_what_its_history_tells() -> None:
    asked = turn((Role.USER, "hi"), (Role.ASSISTANT, "Hello"), (Role.USER, "on"))
    named, chat = Scope("app-key", "ann", conversation_id="c-1"), Scope("app-key", "ann", is_chat=True)
    for mode in MEMORY_MODES:
        assert modes.recall(asked, named, mode).prompt == Prompt("on", "c-1")
        assert isinstance(modes.recall(asked, chat, mode), NamedThread)
        assert modes.recall(asked, Scope("app-key", "ann"), mode).prompt == recall(mode, asked).prompt
