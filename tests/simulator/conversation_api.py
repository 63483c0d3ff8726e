"""Lists, renaming, deleting, feedback: what a conversation's owner can do with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from tests.simulator.generation import Caller, not_found
from tests.simulator.replies import ApiError, Reply, argument_error, error, json_reply, unexpected_error
from tests.simulator.store import Conversation, StoredMessage, now

if TYPE_CHECKING:
    from tests.simulator.server import Simulator

_ORDERS = ("created_at", "-created_at", "updated_at", "-updated_at")
_NO_PARENT = "00000000-0000-0000-0000-000000000000"


def list_conversations(simulator: Simulator, caller: Caller, query: dict[str, str], path: str) -> Reply:
    limit = _limit(simulator, query, "ConversationListQuery")
    rows = simulator.store.conversations_of(caller.app.key, caller.user)
    order = _order(simulator, query)
    rows.sort(key=lambda row: getattr(row, order.lstrip("-")), reverse=order.startswith("-"))
    if last_id := query.get("last_id"):
        position = next((index for index, row in enumerate(rows) if row.id == last_id), None)
        if position is None:
            raise not_found(simulator, "Last Conversation Not Exists.", path)
        rows = rows[position + 1 :]
    shown = [_show_conversation(row) for row in rows[:limit]]
    return json_reply({"limit": limit, "has_more": len(rows) > limit, "data": shown})


def list_messages(simulator: Simulator, caller: Caller, query: dict[str, str], path: str) -> Reply:
    """Ascending; a page holds the newest `limit` messages before `first_id`."""
    limit = _limit(simulator, query, "MessageListQuery")
    conversation = _owned(simulator, caller, _conversation_argument(simulator, query), path)
    rows = conversation.messages
    if first_id := query.get("first_id"):
        position = next((index for index, row in enumerate(rows) if row.id == first_id), None)
        if position is None:
            raise not_found(simulator, "First Message Not Exists.", path)
        rows = rows[:position]
    shown = [_show_message(row, conversation.id) for row in rows[-limit:]]
    return json_reply({"limit": limit, "has_more": len(rows) > limit, "data": shown})


def delete_conversation(simulator: Simulator, caller: Caller, conversation_id: str, path: str) -> Reply:
    if simulator.profile.conversation_delete_is_204:
        # The owner is not looked at, and neither is whether there is such a conversation.
        found = simulator.store.conversations.get(conversation_id)
        if found and found.app_key == caller.app.key:
            del simulator.store.conversations[conversation_id]
        return Reply(204, b"")
    del simulator.store.conversations[_owned(simulator, caller, conversation_id, path).id]
    return json_reply({"result": "success"})


def rename_conversation(
    simulator: Simulator, caller: Caller, conversation_id: str, body: dict[str, Any], path: str
) -> Reply:
    if not body.get("name") and not body.get("auto_generate"):
        raise _no_name(simulator, body)
    conversation = _owned(simulator, caller, conversation_id, path)
    conversation.name = body.get("name") or "Named by the simulator"
    conversation.updated_at = now()
    return json_reply(_show_conversation(conversation))


def rate_message(simulator: Simulator, caller: Caller, message_id: str, body: dict[str, Any], path: str) -> Reply:
    rating = body.get("rating")
    if rating not in ("like", "dislike", None):
        modern = f"Input should be 'like' or 'dislike' [type=literal_error, input_value={rating!r}, input_type=str]"
        legacy = f"{rating} is not a valid choice"
        raise argument_error(simulator.profile, "MessageFeedbackPayload", "rating", legacy, modern)
    message = _owned_message(simulator, caller, message_id, path)
    if rating is None and message.rating is None:
        raise error(400, "invalid_param", "rating cannot be None when feedback not exists")
    message.rating = rating
    return json_reply({"result": "success"})


def suggest_questions(simulator: Simulator, caller: Caller, message_id: str, path: str) -> Reply:
    _owned_message(simulator, caller, message_id, path)
    if not caller.app.suggests_after_answer:
        raise error(400, "bad_request", "Suggested Questions Is Disabled.")
    return json_reply({"result": "success", "data": ["What next?", "Why so?", "Tell me more?"]})


def _owned(simulator: Simulator, caller: Caller, conversation_id: str, path: str) -> Conversation:
    found = simulator.store.conversation(conversation_id, caller.app.key, caller.user)
    if found is None:
        raise not_found(simulator, "Conversation Not Exists.", path)
    return found


def _owned_message(simulator: Simulator, caller: Caller, message_id: str, path: str) -> StoredMessage:
    found = simulator.store.message(message_id, caller.app.key, caller.user)
    if found is None:
        raise not_found(simulator, "Message Not Exists.", path)
    return found


def _conversation_argument(simulator: Simulator, query: dict[str, str]) -> str:
    value = query.get("conversation_id")
    if value is None:
        legacy = "Missing required parameter in the query string"
        modern = f"Field required [type=missing, input_value={query!r}, input_type=dict]"
        raise argument_error(simulator.profile, "MessageListQuery", "conversation_id", legacy, modern)
    try:
        return str(UUID(value))
    except ValueError:
        modern = f"Value error, must be a valid UUID [type=value_error, input_value={value!r}, input_type=str]"
        legacy = f"{value} is not a valid uuid."
        raise argument_error(simulator.profile, "MessageListQuery", "conversation_id", legacy, modern) from None


def _limit(simulator: Simulator, query: dict[str, str], model: str) -> int:
    text = query.get("limit", "20")
    if text.isdigit() and 1 <= int(text) <= 100:
        return int(text)
    if not text.isdigit():
        modern = "Input should be a valid integer, unable to parse string as an integer [type=int_parsing, "
        modern += f"input_value={text!r}, input_type=str]"
        raise argument_error(simulator.profile, model, "limit", f"{text} is not a valid integer", modern)
    legacy = f"Invalid argument: {text}. argument must be within the range 1 - 100"
    kind = "greater_than_equal" if text == "0" else "less_than_equal"
    bound = "greater than or equal to 1" if text == "0" else "less than or equal to 100"
    modern = f"Input should be {bound} [type={kind}, input_value={text!r}, input_type=str]"
    raise argument_error(simulator.profile, model, "limit", legacy, modern)


def _order(simulator: Simulator, query: dict[str, str]) -> str:
    wanted = query.get("sort_by", "-updated_at")
    if wanted in _ORDERS:
        return wanted
    choices = f"{', '.join(map(repr, _ORDERS[:-1]))} or {_ORDERS[-1]!r}"
    modern = f"Input should be {choices} [type=literal_error, input_value={wanted!r}, input_type=str]"
    legacy = f"{wanted} is not a valid choice"
    raise argument_error(simulator.profile, "ConversationListQuery", "sort_by", legacy, modern)


def _no_name(simulator: Simulator, body: dict[str, Any]) -> ApiError:
    if not simulator.profile.strict_bodies:
        return unexpected_error(simulator.profile)
    modern = "Value error, name is required when auto_generate is false [type=value_error, "
    return argument_error(
        simulator.profile, "ConversationRenamePayload", "", "", f"{modern}input_value={body!r}, input_type=dict]"
    )


def _show_conversation(row: Conversation) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "inputs": row.inputs,
        "status": "normal",
        "introduction": row.introduction,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def _show_message(row: StoredMessage, conversation_id: str) -> dict[str, Any]:
    return {
        "id": row.id,
        "conversation_id": conversation_id,
        "parent_message_id": _NO_PARENT,
        "inputs": row.inputs,
        "query": row.query,
        "answer": row.answer.strip(),
        "message_files": row.files,
        "feedback": {"rating": row.rating} if row.rating else None,
        "retriever_resources": [],
        "created_at": row.created_at,
        "agent_thoughts": [],
        "status": row.status,
        "error": row.error,
    }
