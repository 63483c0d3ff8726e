"""In which conversation of Dify a turn is answered: what memory says, and what only Dify can tell."""

from __future__ import annotations

from dataclasses import replace

from gateway.dify_api import calls
from gateway.dify_api.app import App
from gateway.dify_api.calls import MOST_MESSAGES, DifyCall
from gateway.dify_api.messages import is_last_message, newest_conversation, read_past
from gateway.errors import GatewayError
from gateway.exchange.belonging import Belonging
from gateway.exchange.end_user import chat_user
from gateway.exchange.memory.hidden_id import HiddenThread, may_carry_token
from gateway.exchange.memory.modes import HIDDEN, recall
from gateway.exchange.memory.named import NamedThread
from gateway.exchange.memory.thread import NEWEST, Lookup, Outcome, Scope, Thread
from gateway.exchange.turn import Role, Turn
from gateway.services import Services

OPENDIFY_USER = "default_user"  # whom OpenDify's conversations belong to where the client names nobody


def recall_thread(turn: Turn, app: App, belonging: Belonging, pinned: str, services: Services) -> Thread:
    """The turn's place in its conversation, as far as it can be told here. Raises InvalidRequest."""
    scope = Scope(
        app_key=app.key.key,
        user=belonging.user,
        has_conversations=app.mode.has_conversations,
        # OpenDify looked for a name in the body only.
        legacy_user=OPENDIFY_USER if services.settings.read_opendify_tokens and turn.user is None else None,
        pinned=pinned,
        conversation_id=belonging.conversation_id,
        known=services.known_chats,
    )
    mode, chat_id = belonging.memory_mode, belonging.chat_id
    if chat_id is None or mode != HIDDEN or not scope.has_conversations:
        return recall(turn, scope, mode)
    if scope.conversation_id is None and may_carry_token(turn):  # begun before its chat was named
        thread = recall(turn, scope, mode)
        if thread.outcome is Outcome.CONTINUED:
            return thread
    return recall(turn, replace(scope, user=chat_user(scope.user, chat_id), is_chat=True, legacy_user=None), mode)


async def settle(thread: Thread, turn: Turn, app: App, services: Services) -> Thread:
    """The thread that the question is put in, once Dify has said what it has."""
    lookup = thread.lookup
    if lookup is None:
        if not await _has_moved_on(thread, app, services):
            return thread
        if not isinstance(thread, NamedThread):
            return thread.anew(Outcome.BRANCHED)
        lookup = NEWEST  # other nodes may have gone on with the chat
    return await _look_up(lookup, thread, turn, app, services) if isinstance(thread, HiddenThread) else thread


async def _has_moved_on(thread: Thread, app: App, services: Services) -> bool:
    """Whether Dify's conversation holds more than the client shows: an answer that was deleted or made anew."""
    conversation_id, last = thread.prompt.conversation_id, thread.last_message_id
    if conversation_id is None or last is None or not services.settings.check_branches:
        return False
    listing = await _fetch(calls.last_messages(conversation_id, thread.user), app, services)
    return not is_last_message(listing, last)


async def _look_up(lookup: Lookup, thread: HiddenThread, turn: Turn, app: App, services: Services) -> Thread:
    """Find the conversation, and see whether it holds what the client shows."""
    may_look = services.settings.check_branches
    if lookup.must_match and not may_look:
        return thread
    conversation_id = lookup.conversation_id
    if conversation_id is None:
        newest = await _fetch(calls.newest_conversation(thread.user), app, services)
        if (conversation_id := newest_conversation(newest)) is None:
            return thread.anew(Outcome.FOLDED)
    if not may_look:
        return thread.found(conversation_id, None, is_all=False)
    # One more than the client shows, so that a conversation that holds more is seen.
    number = min(MOST_MESSAGES, 1 + sum(message.role is Role.ASSISTANT for message in turn.messages))
    past = read_past(await _fetch(calls.last_messages(conversation_id, thread.user, number), app, services)) or []
    return thread.found(conversation_id, past, is_all=len(past) < number)


async def _fetch(call: DifyCall, app: App, services: Services) -> object:
    """The decoded answer; None where there is none: the question itself will tell what is wrong."""
    try:
        answer = await services.dify.fetch(app.key, call)
    except GatewayError:
        return None
    return answer.json() if answer.head.status == 200 else None
