"""What a message says where only text can go."""

from __future__ import annotations

from gateway.exchange.attachment import Attachment, InlineFile, StoredFile
from gateway.exchange.turn import Message, Role, ToolCall, Turn

CAT = Attachment("a", StoredFile("file-1"), name="cat.png")
DOG = Attachment("b", StoredFile("file-2"), name="dog.png")


def test_a_message_says_its_text_and_a_file_only_where_there_is_none() -> None:
    assert Message(Role.USER, "Which?", attachments=(CAT,)).said == "Which?"
    assert Message(Role.USER, " ", attachments=(CAT, DOG)).said == "[attached: cat.png]\n[attached: dog.png]"
    assert Message(Role.USER, " ").said == ""


def test_a_history_tells_of_each_file() -> None:
    assert Message(Role.USER, "Which?", attachments=(CAT,)).told == "Which?\n[attached: cat.png]"
    assert Message(Role.USER, "", attachments=(CAT,)).told == "[attached: cat.png]"
    assert Message(Role.USER, "Which?").told == "Which?"


def test_a_turn_lets_its_inline_files_go() -> None:
    file = InlineFile("QUJD")
    Turn("m", (Message(Role.USER, "a", attachments=(CAT, Attachment("c", file))),)).let_files_go()
    assert b"".join(file.decode()) == b""


def test_words_stand_for_the_text_where_there_are_any() -> None:
    called = Message(Role.ASSISTANT, "", (CAT,), words="[called clock()]")
    assert (called.said, called.told) == ("[called clock()]", "[called clock()]\n[attached: cat.png]")


def test_the_ids_are_those_of_the_calls_that_have_one() -> None:
    calls = (ToolCall("a", "{}", "1"), ToolCall("b", "{}"), ToolCall("c", "{}", "3"))
    assert Message(Role.ASSISTANT, "", tool_calls=calls).call_ids == ("1", "3")
