"""What every mode hands to the request that asks with it."""

from __future__ import annotations

import pytest

from gateway.exchange.attachment import Attachment, StoredFile
from gateway.exchange.memory.modes import MEMORY_MODES
from gateway.exchange.memory.thread import Outcome, PlainThread, Scope, files_of
from gateway.exchange.turn import Message, Prompt, Role, Turn


def picture(name: str) -> Attachment:
    return Attachment("p", StoredFile("file-1"), name=name)


@pytest.mark.parametrize("whole", [None, "", "another text"])
@pytest.mark.parametrize("ids", [("c", "m"), (None, None)])
def test_a_plain_thread_writes_nothing_into_the_answer(ids: tuple[str | None, str | None], whole: str | None) -> None:
    thread = PlainThread(Prompt("hi"), "ann", Outcome.NONE)
    thread.feed("Hello")
    assert thread.tail(*ids, whole) == ""
    assert thread == PlainThread(Prompt("hi"), "ann", Outcome.NONE)


def test_a_plain_thread_cannot_begin_anew() -> None:
    thread = PlainThread(Prompt("hi"), "ann", Outcome.FOLDED)
    assert thread.anew(Outcome.HEALED) is thread
    assert thread.outcome is Outcome.FOLDED
    assert thread.last_message_id is None


def test_a_scope_shows_no_key_and_has_conversations_unless_told_otherwise() -> None:
    scope = Scope("app-SECRETsecret", "ann")
    assert "SECRET" not in repr(scope)
    assert (scope.has_conversations, scope.legacy_user) == (True, None)


def test_outcomes_are_words_for_a_label() -> None:
    assert [f"{outcome}" for outcome in Outcome] == ["none", "folded", "started", "continued", "branched", "healed"]


def test_the_files_of_messages_are_those_that_were_sent_not_those_that_were_answered() -> None:
    messages = [Message(role, "", attachments=(picture(role),)) for role in Role]
    assert [attachment.name for attachment in files_of(messages)] == ["system", "user", "tool"]


CHAT = [
    Message(Role.USER, "One.", attachments=(picture("old"),)),
    Message(Role.ASSISTANT, "1"),
    Message(Role.USER, "Two.", attachments=(picture("new"),)),
    Message(Role.USER, "", attachments=(picture("newer"),)),
]


@pytest.mark.parametrize(
    ("mode", "query", "now", "earlier"),
    [
        (0, "[attached: newer]", ["newer"], []),
        (
            1,
            "The conversation so far:\n<user>\nOne.\n[attached: old]\n</user>\n<assistant>\n1\n</assistant>\n"
            "<user>\nTwo.\n[attached: new]\n</user>\n\nReply to the user's next message:\n[attached: newer]",
            ["new", "newer"],
            ["old"],
        ),
    ],
)
def test_which_files_a_mode_brings(mode: int, query: str, now: list[str], earlier: list[str]) -> None:
    prompt = MEMORY_MODES[mode].recall(Turn("m", tuple(CHAT)), Scope("app-key", "ann")).prompt
    assert prompt.query == query
    assert [attachment.name for attachment in prompt.attachments] == now
    assert [attachment.name for attachment in prompt.earlier] == earlier


def test_a_chat_that_goes_on_brings_the_new_files_alone_and_begun_anew_all_of_them() -> None:
    memory, scope = MEMORY_MODES[2], Scope("app-key", "ann")
    first = memory.recall(Turn("m", tuple(CHAT[:1])), scope)
    first.feed("A cat.")
    answer = "A cat." + first.tail("0a1b2c3d-0000-4000-8000-000000000001", "0a1b2c3d-0000-4000-8000-000000000002")
    messages = (CHAT[0], Message(Role.ASSISTANT, answer), *CHAT[2:])
    thread = memory.recall(Turn("m", messages), scope)
    assert (thread.outcome, thread.prompt.query) == (Outcome.CONTINUED, "Two.\n\n[attached: newer]")
    assert ([one.name for one in thread.prompt.attachments], thread.prompt.earlier) == (["new", "newer"], ())
    healed = thread.anew(Outcome.HEALED).prompt
    assert [one.name for one in (*healed.earlier, *healed.attachments)] == ["old", "new", "newer"]
