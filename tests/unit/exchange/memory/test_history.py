"""What is new in a history, and what the system says in it."""

from __future__ import annotations

from gateway.exchange.memory.history import behind_system_text, last_answer, new_text, system_text
from gateway.exchange.turn import Message, Role

SYSTEM, USER, ASSISTANT, TOOL = (
    Message(role, role.value) for role in (Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL)
)
BLANK = Message(Role.SYSTEM, " \n")


def test_the_last_answer_is_the_last_message_of_the_assistant() -> None:
    assert last_answer((USER, ASSISTANT, USER, ASSISTANT, TOOL, SYSTEM)) == 3
    assert last_answer((USER, SYSTEM)) is None


def test_what_is_new_is_all_but_the_systems_word() -> None:
    assert new_text((SYSTEM, USER, BLANK, TOOL, Message(Role.USER, ""))) == "user\n\ntool"
    assert new_text((SYSTEM,)) == ""


def test_system_text_is_told_in_its_order() -> None:
    assert system_text((SYSTEM, USER, BLANK, Message(Role.SYSTEM, "and so"))) == "system\n\nand so"
    assert behind_system_text((USER, SYSTEM), "Hello") == "system\n\nHello"
    assert behind_system_text((USER, BLANK), "Hello") == "Hello"
