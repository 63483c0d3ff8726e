"""Memory mode 2: the chat stays in its own Dify conversation, whose id travels invisibly at the end of each answer.

OpenAI's clients name no chat, but they send back what they were answered. The token there says which conversation goes
on, and for which visible text: a history that was edited, shortened or answered anew is not what Dify's linear
conversation holds, so it is folded into the first query of a new one. A client that drops invisible characters gets
the same: folding, never amnesia. No node keeps anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from gateway.exchange.memory import legacy_token, zero_width
from gateway.exchange.memory.call_id import read_call_id, write_call_id
from gateway.exchange.memory.comparison import PastTurn, system_text_told
from gateway.exchange.memory.ending import Ending
from gateway.exchange.memory.fingerprint import Transcript, seen, system_fingerprint
from gateway.exchange.memory.hidden_token import HiddenToken, TokenSeal
from gateway.exchange.memory.history import behind_system_text, last_answer, new_text, system_text
from gateway.exchange.memory.prompt_history import PromptHistory
from gateway.exchange.memory.stateless import Stateless
from gateway.exchange.memory.thread import Lookup, Outcome, Scope, Thread, files_of
from gateway.exchange.turn import Message, Prompt, Role, Turn

_BLOCK = 4096  # characters of an answer that wait to be read together


class HiddenId:
    """Continues the conversation that the last answer's token names, if the history is what it was."""

    meaning = "hidden_id: Dify's own conversation, its id invisible in the answers"

    def recall(self, turn: Turn, scope: Scope) -> Thread:
        """Find the turn's conversation. Raises InvalidRequest when there is no text to ask."""
        if not scope.has_conversations:
            return Stateless().recall(turn, scope)
        shown = zero_width.visible(turn.messages)
        visible = turn if shown == turn.messages else replace(turn, messages=shown)
        if (answered := last_answer(turn.messages)) is not None and (found := _go_on(turn, visible, answered, scope)):
            return found
        spoken = [message for message in visible.messages if message.role is not Role.SYSTEM]
        seal = TokenSeal(scope.app_key, scope.user, scope.pinned)
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
        transcript: Transcript | None = None,
    ) -> None:
        """`transcript`: of all the turn's messages, where it was made already, as a long one takes its time."""
        self.prompt = prompt
        self.user = user
        self.outcome = outcome
        self.last_message_id = last_message_id
        self.lookup: Lookup | None = None
        self._turn = turn
        self._seal = seal
        self._known = transcript
        self._pieces: list[str] = []  # of the answer, not yet read
        self._size = 0
        self._ending: Ending | None = None  # of an answer that is too long to be kept whole

    @property
    def _transcript(self) -> Transcript:
        """Of all the turn's messages; made when it is asked for, at the end of most answers."""
        if self._known is None:
            self._known = Transcript(self._turn.messages, self._seal.transcript_key)
        return self._known

    def feed(self, text: str) -> None:
        # Kept together, as a token costs each of the two more to take than to read.
        self._pieces.append(text)
        self._size += len(text)
        if self._size >= _BLOCK:
            self._settle()

    def _settle(self) -> None:
        text = "".join(self._pieces)
        self._pieces, self._size = [], 0
        self._ending = self._ending or Ending()
        self._ending.feed(text)
        self._transcript.feed(text)

    def tail(self, conversation_id: str | None, message_id: str | None, whole: str | None = None) -> str:
        if not conversation_id:
            return ""
        if whole is None and self._ending is not None:
            self._settle()
            ending, fingerprint = self._ending, self._transcript.finish()
        else:
            text = "".join(self._pieces) if whole is None else whole
            ending, fingerprint = Ending(text), self._transcript.answered(text)
        return self._leave(self._token(conversation_id, message_id, fingerprint), ending)

    def call_id(self, conversation_id: str | None, message_id: str | None, number: int) -> str | None:
        if not conversation_id:
            return None
        data = self._sealed(self._token(conversation_id, message_id, self._transcript.fingerprint()))
        return write_call_id(data, number) if data else None

    def anew(self, outcome: Outcome) -> HiddenThread:
        return _start(self._turn, self.user, self._seal, outcome)

    def found(self, conversation_id: str, past: Sequence[PastTurn] | None, is_all: bool) -> HiddenThread:
        """Dify has this conversation, and this was said in it, oldest first; None: that is not to count.

        `is_all`: what was said there begins with the conversation's first turn.
        """
        messages = self._turn.messages
        answered = (last_answer(messages) or 0) + 1
        new, told = messages[answered:], ""
        if past is not None:
            same = system_text_told(messages[:answered], past, is_all, _asks_bare(self._turn))
            if same is None or self._seal.is_pinned:  # what it is pinned to, Dify does not tell
                return self.anew(Outcome.BRANCHED)
            told = same
        query = new_text(new)
        if not told.endswith(seen(system_text(messages))):
            query = behind_system_text(messages, query)
        return self._going_on(Prompt(query, conversation_id, files_of(new)))

    def _going_on(self, prompt: Prompt) -> HiddenThread:
        return HiddenThread(self._turn, prompt, self.user, self._seal, Outcome.CONTINUED, transcript=self._known)

    def _leave(self, token: HiddenToken, ending: Ending) -> str:
        """Put the token where the next turn finds it; what of it stands in the answer."""
        if ending.is_json():
            return ""  # what is for a parser carries nothing; the next turn folds
        data = self._sealed(token)
        return zero_width.gap(ending.text) + zero_width.hide(data) if data else ""

    def _token(self, conversation_id: str, message_id: str | None, fingerprint: bytes) -> HiddenToken:
        system = system_fingerprint(self._turn.messages, self._seal.transcript_key)
        return HiddenToken(conversation_id, message_id, fingerprint, system)

    def _sealed(self, token: HiddenToken) -> bytes | None:
        try:
            return self._seal.seal(token)
        except ValueError:  # an id of no Dify that is known; the next turn folds
            return None


def _go_on(turn: Turn, visible: Turn, answered: int, scope: Scope) -> HiddenThread | None:
    """The thread that the history tells of; None where it tells of none."""
    users = [scope.user, *([scope.legacy_user] if scope.legacy_user else [])]
    for user in users:
        seal = TokenSeal(scope.app_key, user, scope.pinned)
        for data, covered in carried_by(turn.messages, answered):
            if token := seal.open(data):
                return _continue(visible, answered, token, covered, user, seal)
    if older := _from_older_answer(visible, turn.messages[:answered], scope, users):
        return older
    new = visible.messages[answered + 1 :]
    query, older_user = new_text(new), scope.legacy_user
    if older_user and query and (legacy_id := legacy_token.find(turn.messages[answered].text)):
        seal, prompt = TokenSeal(scope.app_key, older_user, scope.pinned), Prompt(query, legacy_id, files_of(new))
        return HiddenThread(visible, prompt, older_user, seal, Outcome.CONTINUED)
    return None


def _start(turn: Turn, user: str, seal: TokenSeal, outcome: Outcome) -> HiddenThread:
    return HiddenThread(turn, PromptHistory().fold(turn.messages), user, seal, outcome)


def _from_older_answer(
    visible: Turn, before: tuple[Message, ...], scope: Scope, users: Sequence[str]
) -> HiddenThread | None:
    """The last answer has lost its token, or had none, being JSON: an older one tells which conversation it may be.

    What was said there since, only Dify knows; until it has told, the history is folded.
    """
    seals = [(user, TokenSeal(scope.app_key, user, scope.pinned)) for user in users]
    for index in reversed(range(len(before))):
        if before[index].role is Role.ASSISTANT:
            for data, _ in carried_by(before, index):
                for user, seal in seals:
                    if token := seal.open(data):
                        thread = _start(visible, user, seal, Outcome.FOLDED)
                        thread.lookup = Lookup(token.conversation_id)
                        return thread
    return None


def _asks_bare(turn: Turn) -> bool:
    """Whether the client has nothing that goes before its questions: no system text, no tools, no format."""
    return not (turn.tool_choice or turn.response_format) and not any(
        message.role is Role.SYSTEM or message.tool_calls for message in turn.messages
    )


def may_carry_token(turn: Turn) -> bool:
    """Whether something is hidden in the text of the last answer, by this gateway or by OpenDify."""
    answered = last_answer(turn.messages)
    text = "" if answered is None else turn.messages[answered].text
    return bool(zero_width.reveal(text)) or legacy_token.find(text) is not None


def carried_by(messages: tuple[Message, ...], answered: int | None) -> Iterator[tuple[bytes, int]]:
    """What may be a token in the last answer, the likeliest first, and how many messages it covers."""
    if answered is None:
        return
    for data in reversed(zero_width.reveal(messages[answered].text)):
        yield data, answered + 1
    for call_id in reversed(messages[answered].call_ids):  # the last one may come from a second answer
        if (carried := read_call_id(call_id)) is not None:
            yield carried, answered


def _continue(turn: Turn, answered: int, token: HiddenToken, covered: int, user: str, seal: TokenSeal) -> HiddenThread:
    """Go on behind the answer that has the token, if the messages that it covers are what they were then."""
    new = turn.messages[answered + 1 :]
    query = new_text(new)
    transcript = Transcript(turn.messages[:covered], seal.transcript_key)
    if not query or transcript.fingerprint() != token.fingerprint:
        return _start(turn, user, seal, Outcome.BRANCHED)
    if system_fingerprint(turn.messages, seal.transcript_key) != token.system_fingerprint:
        query = behind_system_text(turn.messages, query)
    prompt = Prompt(query, token.conversation_id, files_of(new))
    for message in turn.messages[covered:]:
        transcript.add(message)
    return HiddenThread(turn, prompt, user, seal, Outcome.CONTINUED, token.message_id, transcript)
