"""Chats that the client names, so that nothing has to travel in their texts (the ids of tool calls still tell).

By Dify's own conversation id: that conversation goes on with the new text, whatever else the request shows. By the
front end's id for the chat: Dify's `user` is made of person and chat, so any node can ask Dify for that user's newest
conversation and for what was said in it. It goes on if that is what the client shows; an edited or shortened history
starts another one, as in mode 2. What this node has answered itself it compares without asking (KnownChats).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gateway.errors import InvalidRequest
from gateway.exchange.memory import zero_width
from gateway.exchange.memory.ending import Ending
from gateway.exchange.memory.fingerprint import Transcript, system_fingerprint
from gateway.exchange.memory.hidden_id import HiddenThread, carried_by
from gateway.exchange.memory.hidden_token import HiddenToken, TokenSeal
from gateway.exchange.memory.history import behind_system_text, last_answer, new_text
from gateway.exchange.memory.known_chats import Name
from gateway.exchange.memory.prompt_history import PromptHistory
from gateway.exchange.memory.thread import NEWEST, Outcome, Scope, files_of
from gateway.exchange.turn import Prompt, Role, Turn


class NamedThread(HiddenThread):
    """A turn whose answer leaves its token with this node instead of in its text."""

    def __init__(
        self,
        turn: Turn,
        scope: Scope,
        prompt: Prompt,
        outcome: Outcome,
        last_message_id: str | None = None,
        transcript: Transcript | None = None,
    ) -> None:
        super().__init__(turn, prompt, scope.user, _seal(scope), outcome, last_message_id, transcript)
        self._scope = scope

    def anew(self, outcome: Outcome) -> NamedThread:
        return _start(self._turn, self._scope, outcome)

    def _going_on(self, prompt: Prompt) -> NamedThread:
        return NamedThread(self._turn, self._scope, prompt, Outcome.CONTINUED, transcript=self._known)

    def _leave(self, token: HiddenToken, ending: Ending) -> str:
        self._scope.known.remember(_name(self._scope, token.conversation_id), token)
        return ""


def recall_conversation(turn: Turn, scope: Scope, conversation_id: str) -> NamedThread:
    """Go on in the conversation that the client names. Raises InvalidRequest where there is none or nothing to say."""
    if not scope.has_conversations:
        raise InvalidRequest("This model keeps no conversations that could go on.", param="conversation_id")
    visible = replace(turn, messages=zero_width.visible(turn.messages))
    answered = last_answer(turn.messages)
    new = visible.messages[0 if answered is None else answered + 1 :]
    query = new_text(new)
    if not query:
        return _start(visible, scope, Outcome.BRANCHED)
    tokens = (
        token
        for token, _ in _tokens(turn, scope, answered, conversation_id)
        if token.conversation_id == conversation_id
    )
    told = {token.system_fingerprint for token in tokens}
    if system_fingerprint(visible.messages, _seal(scope).transcript_key) not in told:
        query = behind_system_text(visible.messages, query)
    return NamedThread(visible, scope, Prompt(query, conversation_id, files_of(new)), Outcome.CONTINUED)


def recall_chat(turn: Turn, scope: Scope) -> NamedThread:
    """Go on in the conversation of the chat that `scope.user` is. Raises InvalidRequest without any text."""
    visible = replace(turn, messages=zero_width.visible(turn.messages))
    answered = last_answer(visible.messages)
    new = visible.messages[answered + 1 :] if answered is not None else ()
    query = new_text(new)
    spoken = [message for message in visible.messages if message.role is not Role.SYSTEM]
    begun = Outcome.FOLDED if len(spoken) > 1 else Outcome.STARTED
    if answered is None or not query:
        return _start(visible, scope, begun)  # who shows no answer begins a chat, whatever its id had before
    key = _seal(scope).transcript_key
    for token, covered in _tokens(turn, scope, answered):
        transcript = Transcript(visible.messages[:covered], key)
        if transcript.fingerprint() == token.fingerprint:
            for message in visible.messages[covered:]:
                transcript.add(message)
            if system_fingerprint(visible.messages, key) != token.system_fingerprint:
                query = behind_system_text(visible.messages, query)
            prompt = Prompt(query, token.conversation_id, files_of(new))
            return NamedThread(visible, scope, prompt, Outcome.CONTINUED, token.message_id, transcript)
    thread = _start(visible, scope, begun)
    thread.lookup = NEWEST  # nothing is known here, or other nodes know more, or it is another history
    return thread


def _tokens(
    turn: Turn, scope: Scope, answered: int | None, conversation_id: str = ""
) -> Iterator[tuple[HiddenToken, int]]:
    """What is known of the chat: here, or by what its last answer carries; and how many messages it covers."""
    if known := scope.known.find(_name(scope, conversation_id)):
        yield known, 0 if answered is None else answered + 1
    for data, covered in carried_by(turn.messages, answered):
        if token := _seal(scope).open(data):
            yield token, covered


def _start(turn: Turn, scope: Scope, outcome: Outcome) -> NamedThread:
    return NamedThread(turn, scope, PromptHistory().fold(turn.messages), outcome)


def _seal(scope: Scope) -> TokenSeal:
    return TokenSeal(scope.app_key, scope.user, scope.pinned)


def _name(scope: Scope, conversation_id: str) -> Name:
    """A chat has one conversation at a time, a person many."""
    return (scope.app_key, scope.user) if scope.is_chat else (scope.app_key, scope.user, conversation_id)
