"""Mode 2 without a socket: a front end keeps a history, and the end of each answer says where the chat goes on."""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.exchange.memory import legacy_token
from gateway.exchange.memory.call_id import read_call_id
from gateway.exchange.memory.comparison import PastTurn
from gateway.exchange.memory.ending import Ending
from gateway.exchange.memory.fingerprint import Transcript
from gateway.exchange.memory.hidden_id import HiddenId, HiddenThread, may_carry_token
from gateway.exchange.memory.prompt_history import PromptHistory
from gateway.exchange.memory.stateless import Stateless
from gateway.exchange.memory.thread import Lookup, Outcome, Scope, Thread
from gateway.exchange.memory.zero_width import SHIELD, SYMBOLS, gap, hide, reveal, strip, visible
from gateway.exchange.turn import Message, Prompt, Role, ToolCall, Turn

SYSTEM, USER, ASSISTANT, TOOL = Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL
CONVERSATION = "5f2c1b1e-8d0a-4c52-9f9e-0a7f6d3b2e1d"
OTHER_CONVERSATION = "0b4a9a52-76a1-4bd6-8a3d-6a5a1f0c9e77"
SCOPE = Scope("app-key", "ann")
FOLDED_OR_BRANCHED = (Outcome.FOLDED, Outcome.BRANCHED)

# Text as chats have it, and characters that could be mixed up with what is hidden.
ODD = "ab \n\u200b\u200c\u200d\u2060\ufeff\ufe00\ufe01\ufe0d\ufe0f\u0301❤👩é你`-*|#"
TEXTS = st.text(st.sampled_from(ODD), max_size=30) | st.text(max_size=30)
ANSWERS = TEXTS.filter(lambda text: not is_json(text)) | st.binary(min_size=1, max_size=60).map(hide)
QUESTIONS = TEXTS.filter(lambda text: bool(strip(text).strip()))
CUTS = st.lists(st.integers(0, 30), max_size=4)
IDS = st.uuids().map(str) | st.text(min_size=1, max_size=16)


def is_json(text: str) -> bool:
    ending = Ending()
    ending.feed(text)
    return ending.is_json()


def message_id(number: int) -> str:
    return str(uuid.UUID(int=number))


def recall(messages: Iterable[Message], scope: Scope = SCOPE) -> Thread:
    return HiddenId().recall(Turn("m", tuple(messages)), scope)


def pieces_of(text: str, cuts: Iterable[int]) -> list[str]:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


def answer_of(
    thread: Thread,
    text: str,
    conversation: str | None = CONVERSATION,
    message: str | None = None,
    cuts: Iterable[int] = (),
) -> Message:
    """The answer as the client gets and keeps it."""
    for piece in pieces_of(text, cuts):
        thread.feed(piece)
    return Message(ASSISTANT, text + thread.tail(conversation, message))


class FrontEnd:
    """Keeps the history, sends it whole, and has a Dify that gives each new conversation the next name."""

    def __init__(self, *system: str, scope: Scope = SCOPE) -> None:
        self.history = [Message(SYSTEM, text) for text in system]
        self.scope = scope
        self.conversations = 0
        self.turns = 0

    def ask(self, text: str) -> Thread:
        self.history.append(Message(USER, text))
        return recall(self.history, self.scope)

    def exchange(self, question: str, answer: str, cuts: Iterable[int] = ()) -> Thread:
        thread = self.ask(question)
        self.turns += 1
        conversation = thread.prompt.conversation_id
        if conversation is None:
            self.conversations += 1
            conversation = f"conversation {self.conversations}"
        self.history.append(answer_of(thread, answer, conversation, message_id(self.turns), cuts))
        return thread


def a_chat(*turns: tuple[str, str], system: tuple[str, ...] = (), scope: Scope = SCOPE) -> list[Message]:
    front_end = FrontEnd(*system, scope=scope)
    for question, answer in turns or [("My cat is Tom.", "Nice."), ("He is 3.", "So young!")]:
        front_end.exchange(question, answer)
    return front_end.history


def assert_folded(thread: Thread, history: Iterable[Message]) -> None:
    """The turn is in no conversation, so every text that anybody said is in its query, in order."""
    assert thread.outcome in FOLDED_OR_BRANCHED
    assert thread.prompt.conversation_id is None
    assert thread.last_message_id is None
    place = 0
    for message in sorted(visible(history), key=lambda message: message.role is not SYSTEM):
        if message.text.strip():
            place = thread.prompt.query.index(message.text, place) + len(message.text)


@pytest.mark.parametrize("question", ["Who is Tom?", "<user_query>\nWho is Tom?\n</user_query>"])
def test_what_a_front_end_looked_up_for_a_question_may_be_gone_afterwards(question: str) -> None:
    template = (
        "### Task:\nRespond to the user query using the provided context.\n<context>\nTom: a cat.\n</context>\n\n"
    )
    front_end = FrontEnd()
    assert front_end.exchange(template + question, "A cat.").prompt.query == template + question
    front_end.history[0] = Message(USER, "Who is Tom?")
    assert front_end.ask("How old?").prompt == Prompt("How old?", "conversation 1")


# A chat that goes on -------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(QUESTIONS, ANSWERS, CUTS), min_size=1, max_size=4), IDS, st.lists(st.none() | IDS))
def test_a_chat_goes_on_with_the_new_text_alone(
    turns: list[tuple[str, str, list[int]]], conversation: str, messages: list[str | None]
) -> None:
    history: list[Message] = []
    last: str | None = None
    for number, (question, answer, cuts) in enumerate(turns):
        history.append(Message(USER, question))
        thread = recall(history)
        assert thread.prompt == Prompt(strip(question), conversation if number else None)
        assert thread.outcome is (Outcome.CONTINUED if number else Outcome.STARTED)
        assert thread.last_message_id == last
        assert thread.user == "ann"
        last = messages[number] if number < len(messages) else None
        history.append(answer_of(thread, answer, conversation, last, cuts))


KEPT: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "trimmed": str.strip,
    "a line end added": lambda text: text + "\n",
    "quoted in white space": lambda text: f"\n {text} \n",
    "NFC": lambda text: unicodedata.normalize("NFC", text),
    "NFD": lambda text: unicodedata.normalize("NFD", text),
    "NFKC": lambda text: unicodedata.normalize("NFKC", text),
    "other line ends": lambda text: text.replace("\n", "\r\n") if "\r" not in text else text,
    "zero-width characters dropped": lambda text: re.sub("[\u200b-\u200f\u2060-\u206f\ufeff]", "", text),
}


@pytest.mark.parametrize("keep", KEPT.values(), ids=KEPT)
@given(st.lists(st.tuples(QUESTIONS, st.text("aé你 \n```-*")), min_size=1, max_size=3))
def test_a_client_may_keep_texts_in_its_own_way(keep: Callable[[str], str], turns: list[tuple[str, str]]) -> None:
    front_end = FrontEnd()
    for question, answer in turns:
        assume(not unicodedata.combining(question.strip()[0]))  # behind a space it would be a visible character
        front_end.exchange(question, answer)
        front_end.history = [Message(message.role, keep(message.text)) for message in front_end.history]
    thread = front_end.ask("And now?")
    assert thread.prompt == Prompt("And now?", "conversation 1")


@pytest.mark.parametrize(
    ("current", "query"),
    [
        ([(USER, "one")], "one"),
        ([(USER, " one\n")], " one\n"),
        ([(USER, "one"), (USER, "two")], "one\n\ntwo"),
        ([(TOOL, "3 C"), (TOOL, "wind")], "3 C\n\nwind"),
        ([(USER, "one"), (USER, " ")], "one"),
        ([(TOOL, ""), (USER, f"two{hide(b'hidden')}")], "two"),
    ],
)
def test_all_that_follows_the_last_answer_is_new(current: list[tuple[Role, str]], query: str) -> None:
    thread = recall([*a_chat(), *(Message(role, text) for role, text in current)])
    assert (thread.outcome, thread.prompt) == (Outcome.CONTINUED, Prompt(query, "conversation 1"))


def test_chats_that_say_the_same_stay_apart() -> None:
    histories = []
    for conversation in (CONVERSATION, OTHER_CONVERSATION):
        history = [Message(USER, "hi")]
        histories.append([*history, answer_of(recall(history), "Hello", conversation), Message(USER, "more")])
    assert [recall(history).prompt.conversation_id for history in histories] == [CONVERSATION, OTHER_CONVERSATION]


def test_an_answer_that_was_taken_away_is_left_to_dify_to_see() -> None:
    """Asked again, the last exchange gone: the history before it is right, and Dify's conversation holds more."""
    history = a_chat()
    assert recall(history[:3]).last_message_id == message_id(1)
    assert recall([*history, Message(USER, "x")]).last_message_id == message_id(2)


def test_a_long_answer_costs_no_memory() -> None:
    thread = recall([Message(USER, "hi")])
    for _ in range(2000):
        thread.feed("x" * 1000)
    assert len(vars(thread)["_ending"].text) < 20_000
    tail = thread.tail(CONVERSATION, None)
    assert recall([Message(USER, "hi"), Message(ASSISTANT, "x" * 2_000_000 + tail), Message(USER, "on")]).outcome == (
        Outcome.CONTINUED
    )


# Answers made of tool calls ------------------------------------------------------------------------------------------


def calls_with(*ids: str) -> tuple[ToolCall, ...]:
    return tuple(ToolCall("vet", "{}", call_id) for call_id in ids)


def a_chat_with_calls(said: str = "Let me look.", calls: int = 2) -> list[Message]:
    history = [*a_chat(), Message(USER, "Is he well?")]
    thread = recall(history)
    thread.feed(said)
    ids = [thread.call_id("conversation 1", "m", number) for number in range(calls)]
    return [
        *history,
        Message(ASSISTANT, said, tool_calls=calls_with(*(one for one in ids if one))),
        Message(TOOL, "He is."),
    ]


def test_the_id_of_a_call_says_where_the_chat_goes_on() -> None:
    history = a_chat_with_calls()
    assert len(set(history[-2].call_ids)) == 2
    thread = recall(history)
    assert (thread.outcome, thread.prompt) == (Outcome.CONTINUED, Prompt("He is.", "conversation 1"))
    assert thread.last_message_id == "m"
    history += [answer_of(thread, "He is well.", "conversation 1", "n"), Message(USER, "Thanks")]
    assert recall(history).prompt == Prompt("Thanks", "conversation 1")


@pytest.mark.parametrize("kept", [slice(0, 1), slice(1, 2)])
def test_one_of_several_calls_is_enough(kept: slice) -> None:
    *before, answer, result = a_chat_with_calls()
    answer = Message(ASSISTANT, answer.text, tool_calls=calls_with("call_x", *answer.call_ids[kept]))
    assert recall([*before, answer, result]).prompt.conversation_id == "conversation 1"


def test_the_id_of_a_call_covers_what_was_said_before() -> None:
    history = a_chat_with_calls()
    edited = [Message(USER, "My cat is Kit."), *history[1:]]
    assert recall(edited).outcome is Outcome.BRANCHED
    assert_folded(recall(edited), edited)
    assert recall(history, Scope("app-key", "bob")).outcome is Outcome.FOLDED
    shortened = [*history[:-2], Message(ASSISTANT, history[-2].text, tool_calls=calls_with("call_abc")), history[-1]]
    assert recall(shortened).outcome is Outcome.FOLDED


def test_a_token_means_another_history_in_a_text_than_in_an_id() -> None:
    *before, answer, result = a_chat_with_calls()
    data = read_call_id(answer.call_ids[0])
    assert data is not None
    moved = Message(ASSISTANT, answer.text + hide(data))
    assert recall([*before, moved, result]).outcome is Outcome.BRANCHED


def test_without_a_conversation_a_call_has_any_id() -> None:
    assert recall([Message(USER, "hi")]).call_id(None, None, 0) is None
    assert recall([Message(USER, "hi")]).call_id("x" * 65, None, 0) is None


# Histories that are not what the conversation holds ------------------------------------------------------------------


def edit(history: list[Message], at: int, other: int, text: str) -> list[Message]:
    message = Message(history[at].role, f"{text}x {history[at].text}")
    return [*history[:at], message, *history[at + 1 :]]


def insert(history: list[Message], at: int, other: int, text: str) -> list[Message]:
    return [*history[:at], Message((USER, ASSISTANT, TOOL)[other % 3], f"{text}x"), *history[at:]]


def delete(history: list[Message], at: int, other: int, text: str) -> list[Message]:
    at %= len(history) - 2  # neither the last answer nor the question behind it
    return [*history[:at], *history[at + 1 :]]


def swap(history: list[Message], at: int, other: int, text: str) -> list[Message]:
    changed = [*history]
    changed[at], changed[other] = changed[other], changed[at]
    return changed


def give_to_another(history: list[Message], at: int, other: int, text: str) -> list[Message]:
    at %= len(history) - 2  # without the last answer, the one before it is the last
    role = [role for role in (USER, ASSISTANT, TOOL) if role is not history[at].role][other % 2]
    return [*history[:at], Message(role, history[at].text), *history[at + 1 :]]


@pytest.mark.parametrize("change", [edit, insert, delete, swap, give_to_another])
@given(st.lists(st.tuples(QUESTIONS, ANSWERS), min_size=1, max_size=3), st.data())
def test_a_changed_history_is_never_continued_and_never_lost(
    change: Callable[[list[Message], int, int, str], list[Message]],
    turns: list[tuple[str, str]],
    data: st.DataObject,
) -> None:
    history = [*a_chat(*turns), Message(USER, "And now?")]
    at, other = (data.draw(st.integers(0, len(history) - 2)) for _ in range(2))
    changed = change(history, at, other, data.draw(st.text("abc \n", max_size=5)))
    same = [Transcript(visible(messages[:-1])).fingerprint() for messages in (history, changed)]
    assume(same[0] != same[1])  # equal messages may change places
    thread = recall(changed)
    assert_folded(thread, changed)
    # The branch is a conversation of its own, and the next turn goes on in it.
    answer = answer_of(thread, "Fine.", OTHER_CONVERSATION, "m")
    assert recall([*changed, answer, Message(USER, "on")]).prompt == Prompt("on", OTHER_CONVERSATION)


@pytest.mark.parametrize("change", [edit, insert, delete, swap, give_to_another])
def test_a_changed_history_is_a_branch(change: Callable[[list[Message], int, int, str], list[Message]]) -> None:
    history = [*a_chat(), Message(USER, "And now?")]
    changed = change(history, 0, 1, "other")
    thread = recall(changed)
    assert thread.outcome is Outcome.BRANCHED
    assert thread.prompt == PromptHistory().fold(visible(changed))


@pytest.mark.parametrize("current", [[], [""], [" \n"], [hide(b"nothing that is seen")]])
def test_without_new_text_there_is_nothing_to_go_on_with(current: list[str]) -> None:
    history = [*a_chat(), *(Message(USER, text) for text in current)]
    thread = recall(history)
    assert thread.outcome is Outcome.BRANCHED
    assert_folded(thread, history)


@pytest.mark.parametrize(
    "scope",
    [
        Scope("app-kez", "ann"),
        Scope("app-key", "bob"),
        Scope("app-key", "ann "),
        Scope("app-key", ""),
        Scope("app-key", "bob", legacy_user="default_user"),
    ],
)
def test_a_token_is_worth_nothing_to_another_app_or_user(scope: Scope) -> None:
    history = [*a_chat(), Message(USER, "What did I say?")]
    thread = recall(history, scope)
    assert (thread.outcome, thread.user) == (Outcome.FOLDED, scope.user)
    assert thread.prompt == PromptHistory().fold(visible(history))
    # And what they make of it is theirs.
    history += [answer_of(thread, "Tom.", OTHER_CONVERSATION, "m"), Message(USER, "on")]
    assert recall(history, scope).prompt == Prompt("on", OTHER_CONVERSATION)
    assert recall(history, SCOPE).outcome is Outcome.FOLDED


def broken_answers() -> dict[str, str]:
    text = a_chat()[-1].text
    start = text.index(SHIELD)
    shown, symbols = text[:start], text[start + 1 :]
    broken = {f"cut behind {at}": shown + SHIELD + symbols[:at] for at in range(len(symbols))}
    broken |= {f"without {at}": shown + symbols[:at] + symbols[at + 1 :] for at in range(len(symbols))}
    broken |= {f"{at} doubled": shown + symbols[: at + 1] + symbols[at:] for at in range(len(symbols))}
    broken["another last symbol"] = shown + symbols[:-1] + SYMBOLS[SYMBOLS.index(symbols[-1]) - 1]
    broken["doubled"] = shown + symbols + symbols
    broken["reversed"] = shown + symbols[::-1]
    return broken


@pytest.mark.parametrize("answer", broken_answers().values(), ids=broken_answers())
def test_a_broken_token_is_none(answer: str) -> None:
    history = [*a_chat()[:-1], Message(ASSISTANT, answer), Message(USER, "And now?")]
    thread = recall(history)
    assert thread.outcome is Outcome.FOLDED
    assert_folded(thread, history)
    assert strip(thread.prompt.query) == thread.prompt.query


def test_a_token_that_came_twice_is_one_token() -> None:
    *before, last = a_chat()
    twice = Message(ASSISTANT, last.text + last.text[last.text.index(SHIELD) :])
    assert recall([*before, twice, Message(USER, "on")]).prompt == Prompt("on", "conversation 1")


def test_a_token_in_an_older_answer_says_nothing_of_what_came_after_it() -> None:
    first, answer, second, last = a_chat()
    for lost in (Message(ASSISTANT, strip(last.text)), Message(ASSISTANT, "")):
        history = [first, answer, second, lost, Message(USER, "And now?")]
        thread = recall(history)
        assert thread.outcome is Outcome.FOLDED
        assert_folded(thread, history)


def test_an_older_answer_tells_which_conversation_dify_may_be_asked_for() -> None:
    first, answer, second, last = a_chat()
    history = [first, answer, second, Message(ASSISTANT, strip(last.text)), Message(USER, "And now?")]
    thread = recall(history)
    assert isinstance(thread, HiddenThread)
    assert thread.lookup == Lookup("conversation 1")
    past = [PastTurn("My cat is Tom.", "Nice."), PastTurn("He is 3.", "So young!")]
    same = thread.found("conversation 1", past, is_all=True)
    assert (same.outcome, same.prompt) == (Outcome.CONTINUED, Prompt("And now?", "conversation 1"))
    history += [answer_of(same, "Fine.", "conversation 1", "m"), Message(USER, "on")]
    assert recall(history).prompt == Prompt("on", "conversation 1")
    other = thread.found("conversation 1", [*past[:1], PastTurn("He is 4.", "So young!")], is_all=True)
    assert (other.outcome, other.prompt) == (Outcome.BRANCHED, thread.prompt)
    assert recall([*history[:3], history[3], Message(USER, "x")], Scope("app-key", "bob")).lookup is None


@pytest.mark.parametrize("role", [USER, TOOL, SYSTEM])
def test_a_token_in_anybody_elses_text_is_nothing(role: Role) -> None:
    """A person may paste an answer."""
    answer = a_chat()[-1].text
    history = [Message(role, answer), Message(USER, "And now?")]
    thread = recall(history)
    assert thread.outcome is (Outcome.STARTED if role is SYSTEM else Outcome.FOLDED)
    assert thread.prompt == PromptHistory().fold(visible(history))


def test_two_answers_in_one_are_neither() -> None:
    first, answer, _, last = a_chat()
    history = [first, Message(ASSISTANT, f"{answer.text}\n\n{last.text}"), Message(USER, "And now?")]
    thread = recall(history)
    assert thread.outcome is Outcome.BRANCHED
    assert_folded(thread, history)


@pytest.mark.parametrize(
    ("history", "carries"),
    [
        ([Message(USER, "hi")], False),
        ([*a_chat(), Message(USER, "on")], True),
        ([Message(USER, "hi"), Message(ASSISTANT, f"Nice.{hide(b'any')}"), Message(USER, "on")], True),
        ([*a_chat(), Message(USER, "on"), Message(ASSISTANT, "Well ❤️"), Message(USER, "on")], False),
    ],
)
def test_a_look_at_the_last_answer_shows_whether_it_may_carry_a_token(history: list[Message], carries: bool) -> None:
    assert may_carry_token(Turn("m", tuple(history))) == carries


def test_without_any_text_there_is_no_query() -> None:
    with pytest.raises(InvalidRequest):
        recall([Message(USER, hide(b"hidden"))])
    with pytest.raises(InvalidRequest):
        recall([Message(USER, " "), Message(ASSISTANT, "")])


@pytest.mark.parametrize(
    ("messages", "outcome"),
    [
        ([(USER, "hi")], Outcome.STARTED),
        ([(SYSTEM, "s"), (USER, "hi"), (SYSTEM, "t")], Outcome.STARTED),
        ([(SYSTEM, "s")], Outcome.STARTED),
        ([(USER, "hi"), (USER, "there")], Outcome.FOLDED),
        ([(USER, "hi"), (ASSISTANT, "Hello"), (USER, "there")], Outcome.FOLDED),
    ],
)
def test_a_first_request_starts_a_conversation_or_brings_its_history(
    messages: list[tuple[Role, str]], outcome: Outcome
) -> None:
    history = [Message(role, text) for role, text in messages]
    thread = recall(history)
    assert (thread.outcome, thread.prompt) == (outcome, PromptHistory().fold(history))


# What reaches Dify ---------------------------------------------------------------------------------------------------

HIDING = st.lists(
    st.builds(
        Message,
        st.sampled_from(Role),
        st.lists(TEXTS | st.binary(min_size=1, max_size=60).map(hide) | st.text(legacy_token.ALPHABET)).map("".join),
    ),
    max_size=5,
)


@given(HIDING, st.booleans(), st.booleans(), st.sampled_from([None, "default_user"]), HIDING)
def test_dify_never_sees_a_hidden_character(
    before: list[Message], chatted: bool, has_conversations: bool, legacy_user: str | None, after: list[Message]
) -> None:
    history = [*before, *(a_chat() if chatted else []), *after, Message(USER, f"hi{hide(b'hidden')}")]
    thread = recall(history, Scope("app-key", "ann", has_conversations, legacy_user))
    for prompt in (thread.prompt, thread.anew(Outcome.HEALED).prompt):
        assert strip(prompt.query) == prompt.query
        assert reveal(prompt.query) == []
        assert "hi" in prompt.query


# Beginning anew ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [Outcome.HEALED, Outcome.BRANCHED])
@given(st.lists(st.tuples(QUESTIONS, ANSWERS), min_size=1, max_size=3), QUESTIONS)
def test_anew_everything_is_folded(outcome: Outcome, turns: list[tuple[str, str]], question: str) -> None:
    history = [*a_chat(*turns, system=("Be brief.",)), Message(USER, question)]
    thread = recall(history)
    assert thread.outcome is Outcome.CONTINUED
    anew = thread.anew(outcome)
    assert (anew.outcome, anew.user, anew.last_message_id) == (outcome, "ann", None)
    assert anew.prompt == PromptHistory().fold(visible(history))
    history += [answer_of(anew, "Fine.", OTHER_CONVERSATION, "m"), Message(USER, "on")]
    assert recall(history).prompt == Prompt("on", OTHER_CONVERSATION)
    assert recall(history).last_message_id == "m"


# Apps without conversations ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("history", [a_chat()[:1], [*a_chat(), Message(USER, "x")]], ids=["first turn", "later"])
def test_an_app_without_conversations_gets_what_is_said_now(history: list[Message]) -> None:
    scope = Scope("app-key", "ann", has_conversations=False)
    thread = recall(history, scope)
    assert thread == Stateless().recall(Turn("m", tuple(history)), scope)
    assert thread.prompt == Prompt(history[-1].text)
    thread.feed("Hello")
    assert thread.tail(CONVERSATION, "m") == ""


# Chats of OpenDify ---------------------------------------------------------------------------------------------------

LEGACY_SCOPE = Scope("app-key", "ann", legacy_user="default_user")


def legacy_run(conversation_id: str) -> str:
    number = int.from_bytes(conversation_id.encode(), "big")
    return "".join(legacy_token.ALPHABET[number >> 3 * place & 7] for place in reversed(range(legacy_token.SYMBOLS)))


LEGACY_CHAT = [Message(USER, "My cat is Tom."), Message(ASSISTANT, f"Nice.{legacy_run(CONVERSATION)}")]


def test_a_chat_of_opendify_goes_on_and_stays_with_its_user() -> None:
    history = [*LEGACY_CHAT]
    for number, question in enumerate(["What is its name?", "And its age?", "Why?"]):
        history.append(Message(USER, question))
        thread = recall(history, LEGACY_SCOPE)
        assert thread.prompt == Prompt(question, CONVERSATION)
        assert (thread.outcome, thread.user) == (Outcome.CONTINUED, "default_user")
        assert thread.last_message_id == (message_id(number) if number else None)
        history.append(answer_of(thread, "Tom.", CONVERSATION, message_id(number + 1)))
        assert reveal(history[-1].text)
    # Our own token is signed for that user: it checks the history, and others have no use for it.
    edited = recall([Message(USER, "My cat is Kit."), *history[1:], Message(USER, "Why?")], LEGACY_SCOPE)
    assert (edited.outcome, edited.user) == (Outcome.BRANCHED, "default_user")
    assert recall([*history, Message(USER, "Why?")], SCOPE).prompt.conversation_id is None


def test_a_chat_of_opendify_may_carry_a_token() -> None:
    assert may_carry_token(Turn("m", (*LEGACY_CHAT, Message(USER, "on"))))


def test_an_unsigned_token_is_read_only_where_that_is_wanted() -> None:
    history = [*LEGACY_CHAT, Message(USER, "What is its name?")]
    thread = recall(history, SCOPE)
    assert (thread.outcome, thread.user) == (Outcome.FOLDED, "ann")
    assert_folded(thread, history)


@pytest.mark.parametrize(
    "history",
    [
        [*LEGACY_CHAT, Message(USER, "Fine."), Message(ASSISTANT, "Yes."), Message(USER, "on")],  # in an older answer
        [Message(USER, LEGACY_CHAT[1].text), Message(USER, "on")],
        [LEGACY_CHAT[0], Message(ASSISTANT, LEGACY_CHAT[1].text[:-2]), Message(USER, "on")],
        [*LEGACY_CHAT],
        [*LEGACY_CHAT, Message(USER, " ")],
    ],
    ids=["older answer", "user's text", "cut", "nothing new", "nothing to see"],
)
def test_a_token_of_opendify_has_the_same_place_as_ours(history: list[Message]) -> None:
    thread = recall(history, LEGACY_SCOPE)
    assert (thread.outcome, thread.user) == (Outcome.FOLDED, "ann")
    assert_folded(thread, history)


def test_our_token_goes_before_one_of_opendify() -> None:
    *before, last = a_chat(scope=LEGACY_SCOPE)
    both = Message(ASSISTANT, last.text + legacy_run(OTHER_CONVERSATION))
    thread = recall([*before, both, Message(USER, "on")], LEGACY_SCOPE)
    assert (thread.prompt, thread.user) == (Prompt("on", "conversation 1"), "ann")
    edited = recall([Message(USER, "Edited."), *before[1:], both, Message(USER, "on")], LEGACY_SCOPE)
    assert edited.outcome is Outcome.BRANCHED


def test_a_healed_chat_of_opendify_stays_with_its_user() -> None:
    history = [*LEGACY_CHAT, Message(USER, "What is its name?")]
    thread = recall(history, LEGACY_SCOPE).anew(Outcome.HEALED)
    assert (thread.prompt, thread.user) == (PromptHistory().fold(visible(history)), "default_user")
    history += [answer_of(thread, "Tom.", OTHER_CONVERSATION, "m"), Message(USER, "on")]
    again = recall(history, LEGACY_SCOPE)
    assert (again.prompt, again.user) == (Prompt("on", OTHER_CONVERSATION), "default_user")


# System text ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "now", "query"),
    [
        (["Be brief."], ["Be brief."], "on"),
        (["Be brief."], ["Be brief. \r\n"], "on"),
        (["Be brief."], [f"Be brief.{hide(b'hidden')}"], "on"),
        ([], [], "on"),
        (["Be brief."], ["Be long."], "Be long.\n\non"),
        (["Be brief."], ["Be brief.", "Be kind."], "Be brief.\n\nBe kind.\n\non"),
        (["Be brief.", "Be kind."], ["Be kind.", "Be brief."], "Be kind.\n\nBe brief.\n\non"),
        ([], ["Be brief."], "Be brief.\n\non"),
        (["Be brief."], [], "on"),  # what Dify has read cannot be taken back
        (["Be brief."], [""], "on"),
        (["Be brief.", "Be kind."], [" ", "Be kind."], "Be kind.\n\non"),
    ],
)
def test_system_text_is_said_again_when_it_changes(before: list[str], now: list[str], query: str) -> None:
    spoken = a_chat(system=tuple(before))[len(before) :]
    history = [*(Message(SYSTEM, text) for text in now), *spoken, Message(USER, "on")]
    thread = recall(history)
    assert (thread.outcome, thread.prompt) == (Outcome.CONTINUED, Prompt(query, "conversation 1"))
    # And once is enough.
    history += [answer_of(thread, "Fine.", "conversation 1", "m"), Message(USER, "more")]
    assert recall(history).prompt == Prompt("more", "conversation 1")


def test_system_text_is_read_wherever_it_stands() -> None:
    history = [*a_chat(system=("Be brief.",)), Message(SYSTEM, "Be kind."), Message(USER, "on")]
    assert recall(history).prompt == Prompt("Be brief.\n\nBe kind.\n\non", "conversation 1")


# The tail ------------------------------------------------------------------------------------------------------------


@given(ANSWERS, ANSWERS, CUTS)
def test_the_whole_text_replaces_what_was_fed(fed: str, whole: str, cuts: list[int]) -> None:
    question = Message(USER, "hi")
    shown = [Transcript([Message(ASSISTANT, text)]).fingerprint() for text in (fed, whole)]
    assume(shown[0] != shown[1])
    thread = recall([question])
    for piece in pieces_of(fed, cuts):
        thread.feed(piece)
    tail = thread.tail(CONVERSATION, "m", whole)
    assert tail.startswith(gap(whole[-512:]) + SHIELD)
    assert recall([question, Message(ASSISTANT, whole + tail), Message(USER, "on")]).prompt == Prompt(
        "on", CONVERSATION
    )
    kept = recall([question, Message(ASSISTANT, fed + tail), Message(USER, "on")])
    assert kept.outcome is Outcome.BRANCHED


def test_an_empty_whole_text_is_a_text() -> None:
    question = Message(USER, "hi")
    thread = recall([question])
    thread.feed("Something bad")
    answer = Message(ASSISTANT, thread.tail(CONVERSATION, "m", ""))
    assert strip(answer.text) == ""
    assert recall([question, answer, Message(USER, "on")]).outcome is Outcome.CONTINUED


@pytest.mark.parametrize(
    ("conversation", "message"),
    [(None, "m"), ("", "m"), (None, None), ("c" * 65, "m"), ("é" * 33, "m"), (CONVERSATION, "m" * 65)],
)
def test_where_no_token_can_be_written_there_is_none(conversation: str | None, message: str | None) -> None:
    history = [Message(USER, "hi")]
    history.append(answer_of(recall(history), "Hello", conversation, message))
    assert history[-1].text == "Hello"
    history.append(Message(USER, "on"))
    assert_folded(recall(history), history)


@pytest.mark.parametrize(
    "answer", ["{}", "[]", '{"a": 1}', ' {"a": [1]}\n', "[1,\n 2]", "42", '"yes"', "null", "```json\n{}\n```"]
)
@given(CUTS)
def test_an_answer_for_a_parser_carries_nothing(answer: str, cuts: list[int]) -> None:
    assert answer_of(recall([Message(USER, "hi")]), answer, cuts=cuts).text == answer
    thread = recall([Message(USER, "hi")])
    thread.feed("Said before.")
    assert thread.tail(CONVERSATION, "m", answer) == ""


@pytest.mark.parametrize("answer", ["{", "}", "{]", "[a](b)", "Here: {}", "{} is empty", "}{", "[1] and [2]"])
def test_other_brackets_are_text(answer: str) -> None:
    assert reveal(answer_of(recall([Message(USER, "hi")]), answer).text)


@pytest.mark.parametrize(
    "answer",
    ["", "Hello", "Hello ", "Hello\n", "**Note:**", "```py\nx = 1\n```", "| a |\n|---|\n| 1 |", "a\n\n---", "$$\nx\n$$"]
    + ["x" * 2000 + "\n```", "Title\n===", f"[1]: https://example.org/{'x' * 3000}"],
)
@given(CUTS)
def test_the_tail_keeps_the_look_of_the_text(answer: str, cuts: list[int]) -> None:
    text = answer_of(recall([Message(USER, "hi")]), answer, cuts=cuts).text
    assert strip(text) == answer + gap(answer)
    assert text.startswith(answer + gap(answer) + SHIELD)
    assert len(reveal(text)) == 1
