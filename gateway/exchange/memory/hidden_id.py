"""Memory mode 2: the chat stays in its own Dify conversation, whose id travels invisibly at the end of each answer.

OpenAI's clients name no chat, but they send back what they were answered. The token there says which conversation goes
on, and for which visible text: a history that was edited, shortened or answered anew is not what Dify's linear
conversation holds, so it is folded into the first query of a new one. A client that drops invisible characters gets
the same: folding, never amnesia. No node keeps anything.
"""

from __future__ import annotations

from dataclasses import replace

from gateway.exchange.memory import legacy_token, zero_width
from gateway.exchange.memory.fingerprint import Transcript, system_fingerprint
from gateway.exchange.memory.hidden_token import HiddenToken, TokenSeal
from gateway.exchange.memory.prompt_history import PromptHistory
from gateway.exchange.memory.stateless import Stateless
from gateway.exchange.memory.thread import Outcome, Scope, Thread
from gateway.exchange.turn import Message, Prompt, Role, Turn

_JSON_ENDS = ("{}", "[]")
_LAST_LINE = 512  # characters of the answer's end that are kept to see how it ends


class HiddenId:
    """Continues the conversation that the last answer's token names, if the history is what it was."""

    meaning = "hidden_id: Dify's own conversation, its id invisible in the answers"

    def recall(self, turn: Turn, scope: Scope) -> Thread:
        """Find the turn's conversation. Raises InvalidRequest when there is no text to ask."""
        if not scope.has_conversations:
            return Stateless().recall(turn, scope)
        visible = replace(turn, messages=zero_width.visible(turn.messages))
        answered = _last_answer(turn.messages)
        users = [scope.user, *([scope.legacy_user] if scope.legacy_user else [])]
        for user in users:
            seal = TokenSeal(scope.app_key, user)
            for data in reversed(zero_width.reveal(turn.messages[answered].text) if answered is not None else []):
                if (token := seal.open(data)) and answered is not None:
                    return _continue(visible, answered, token, user, seal)
        seal = TokenSeal(scope.app_key, scope.user)
        if scope.legacy_user and answered is not None and (query := _new_text(visible.messages[answered + 1 :])):
            legacy_id = legacy_token.find(turn.messages[answered].text)
            if legacy_id:
                seal = TokenSeal(scope.app_key, scope.legacy_user)
                prompt = Prompt(query, legacy_id)
                return HiddenThread(visible, prompt, scope.legacy_user, seal, Outcome.CONTINUED)
        spoken = [message for message in visible.messages if message.role is not Role.SYSTEM]
        return _start(visible, scope.user, seal, Outcome.FOLDED if len(spoken) > 1 else Outcome.STARTED)


class HiddenThread:
    """A turn whose answer gets a token."""

    def __init__(
        self,
        turn: Turn,
        prompt: Prompt,
        user: str,
        seal: TokenSeal,
        outcome: Outcome,
        last_message_id: str | None = None,
    ) -> None:
        self.prompt = prompt
        self.user = user
        self.outcome = outcome
        self.last_message_id = last_message_id
        self._turn = turn
        self._seal = seal
        self._transcript = Transcript(turn.messages, seal.transcript_key)
        self._begin = self._end = ""  # of the answer, as far as they are looked at

    def feed(self, text: str) -> None:
        self._transcript.feed(text)
        self._begin = self._begin or text.lstrip()[:1]
        self._end = (self._end + text)[-_LAST_LINE:]

    def tail(self, conversation_id: str | None, message_id: str | None, whole: str | None = None) -> str:
        if whole is not None:
            self._transcript = Transcript(self._turn.messages, self._seal.transcript_key)
            self._begin = self._end = ""
            self.feed(whole)
        if not conversation_id or self._begin + self._end.rstrip()[-1:] in _JSON_ENDS:
            return ""  # what is for a parser carries nothing; the next turn folds
        try:
            data = self._seal.seal(
                HiddenToken(
                    conversation_id,
                    message_id,
                    self._transcript.finish(),
                    system_fingerprint(self._turn.messages, self._seal.transcript_key),
                )
            )
        except ValueError:  # an id of no Dify that is known; the next turn folds
            return ""
        return zero_width.gap(self._end) + zero_width.hide(data)

    def anew(self, outcome: Outcome) -> Thread:
        return _start(self._turn, self.user, self._seal, outcome)


def _start(turn: Turn, user: str, seal: TokenSeal, outcome: Outcome) -> HiddenThread:
    return HiddenThread(turn, PromptHistory().fold(turn.messages), user, seal, outcome)


def _continue(turn: Turn, answered: int, token: HiddenToken, user: str, seal: TokenSeal) -> HiddenThread:
    """Go on behind the answer that the token ends, if the history up to it is what it was then."""
    history, current = turn.messages[: answered + 1], turn.messages[answered + 1 :]
    query = _new_text(current)
    if not query or Transcript(history, seal.transcript_key).fingerprint() != token.fingerprint:
        return _start(turn, user, seal, Outcome.BRANCHED)
    if system_fingerprint(turn.messages, seal.transcript_key) != token.system_fingerprint:
        changed = [message.text for message in turn.messages if message.role is Role.SYSTEM]
        query = "\n\n".join([*(text for text in changed if text.strip()), query])
    prompt = Prompt(query, token.conversation_id)
    return HiddenThread(turn, prompt, user, seal, Outcome.CONTINUED, token.message_id)


def _last_answer(messages: tuple[Message, ...]) -> int | None:
    """Where the last answer stands; a token in an older one tells nothing of what came after it."""
    answers = [index for index, message in enumerate(messages) if message.role is Role.ASSISTANT]
    return answers[-1] if answers else None


def _new_text(messages: tuple[Message, ...]) -> str:
    texts = [message.text for message in messages if message.role is not Role.SYSTEM]
    return "\n\n".join(text for text in texts if text.strip())
