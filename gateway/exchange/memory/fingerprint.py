"""A short fingerprint of what a chat shows, to see whether a client still has the history that Dify has.

It stays the same under what clients do to texts they keep: trimming, other line ends, any Unicode normal form, dropped
invisible characters and controls (and so hidden tokens). It changes with anything else: a text edited, a message added,
removed, moved or given to another role. Thoughts that an answer begins with are left out: shown inline, they are part
of the text to some clients, and others keep them apart and never send them back. So is what a front end has looked up
for a question.

System messages are left out, as front ends write the time of day into them; they have a fingerprint of their own.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from gateway.exchange.memory.keyed_hash import KeyedHash
from gateway.exchange.memory.looked_up import bare_question
from gateway.exchange.turn import Message, Role

FINGERPRINT_BYTES = 8
SYSTEM_FINGERPRINT_BYTES = 2
NO_KEY = KeyedHash(b"")
_NO_SYSTEM = hashlib.sha256().digest()

_SYSTEM, _USER, _ASSISTANT = Role.SYSTEM, Role.USER, Role.ASSISTANT  # by the enum's name each would cost a search

_CR = 0x0D  # a number: to look for bytes in bytes takes ten times as long
_LONGEST_MARKS = 4096  # characters that wait for more marks on the last one

_THOUGHT_BEGINS, _THOUGHT_ENDS = "<think>", "</think>"

# Unicode's Default_Ignorable_Code_Points; controls except white space; what stands for broken UTF-16.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\ufffd\ud800-\udfff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)

_INVISIBLE_LATIN = bytes(code for code in range(256) if _INVISIBLE.match(chr(code)))


class Transcript:
    """Messages, then the answer to them; an answer of any length in constant memory.

    `key` (TokenSeal.transcript_key) keeps who sees a fingerprint from checking guesses of what was said.
    """

    def __init__(self, messages: Iterable[Message] = (), key: KeyedHash = NO_KEY) -> None:
        self._key = key
        self._messages = hashlib.sha256()
        self._answer: _LongAnswer | None = None  # that is not finished
        for message in messages:
            self.add(message)

    def add(self, message: Message) -> None:
        """One more message; a system message changes nothing."""
        role, text = message.role, message.text
        if role is _USER:
            text = bare_question(text)
        elif role is _ASSISTANT:
            text = _behind_thoughts(text)
        elif role is _SYSTEM:
            return
        self._append(role, _digest(text))

    def fingerprint(self) -> bytes:
        """Of the messages so far, without an answer that is not finished."""
        return self._key.digest(self._messages.digest())[:FINGERPRINT_BYTES]

    def answered(self, text: str) -> bytes:
        """This is the whole answer, whatever was fed; a message like the others now. Gives the fingerprint with it."""
        self._answer = None
        self._append(_ASSISTANT, _digest(_behind_thoughts(text)))
        return self.fingerprint()

    def feed(self, text: str) -> None:
        """More of the visible text of a long answer; in large pieces, as each is hashed at once."""
        if self._answer is None:
            self._answer = _LongAnswer()
        self._answer.feed(text)

    def finish(self) -> bytes:
        """The answer that was fed is whole: a message like the others now. Gives the fingerprint with it."""
        answer, self._answer = self._answer or _LongAnswer(), None
        self._append(_ASSISTANT, answer.finish())
        return self.fingerprint()

    def _append(self, role: Role, digest: bytes) -> None:
        # Digests have one length, so no text can imitate the border between two messages.
        self._messages.update(role.encode().ljust(16, b"\0") + digest)


def system_fingerprint(messages: Iterable[Message], key: KeyedHash = NO_KEY) -> bytes:
    """Of the system messages alone, in their order."""
    digests = [_digest(message.text) for message in messages if message.role is _SYSTEM]
    return _system_mac(key, hashlib.sha256(b"".join(digests)).digest() if digests else _NO_SYSTEM)


@lru_cache(maxsize=512)  # few apps are told another system text with each turn, and most are told none
def _system_mac(key: KeyedHash, digest: bytes) -> bytes:
    return key.digest(b"system" + digest)[:SYSTEM_FINGERPRINT_BYTES]


def seen(text: str) -> str:
    """A short text as two that look the same have it: composed in no way, without white space and what is invisible."""
    return "".join(_drop_invisible(unicodedata.normalize("NFKD", text)).split())


def _drop_invisible(text: str) -> str:
    try:  # a twentieth of the regular expression's time, and most texts of the West
        return text.encode("latin-1").translate(None, _INVISIBLE_LATIN).decode("latin-1")
    except UnicodeEncodeError:
        return _INVISIBLE.sub("", text)


def _decomposed(text: str) -> str:
    """A text without invisible characters in the one form that is hashed, but for the white space around it."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text if text.isascii() else unicodedata.normalize("NFKD", text)


def _digest(text: str) -> bytes:
    """Of one text that is there as a whole."""
    if text.isascii():  # the same in fewer steps: of its white space all that bytes do not strip is invisible
        data = text.encode().translate(None, _INVISIBLE_LATIN)
        if _CR in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return hashlib.sha256(data.strip()).digest()
    return hashlib.sha256(_decomposed(_drop_invisible(text)).strip().encode()).digest()


def _behind_thoughts(answer: str) -> str:
    """A whole answer without the thoughts that it begins with."""
    answer = answer.lstrip()
    while answer.startswith(_THOUGHT_BEGINS):
        answer = answer.partition(_THOUGHT_ENDS)[2].lstrip()
    return answer


class _LongText:
    """The digest of one text, whatever pieces it comes in."""

    def __init__(self) -> None:
        self._after_cr = False  # a \r came last, and was taken for a line end
        self._carry = ""  # the last character with its marks, to which more may come
        self._begun = False
        self._all = hashlib.sha256()
        self._trimmed = self._all  # up to the last character that is no white space

    def feed(self, text: str) -> None:
        text = _drop_invisible(text)
        if not text:
            return
        if self._after_cr and text[0] == "\n":
            text = text[1:]
        self._after_cr = text.endswith("\r")
        # Fully decomposed, every character stands for itself and only marks change places, behind their character.
        # So a text can be cut before any character that is no mark; the composed forms have no such places.
        text = _decomposed(self._carry + text)
        cut = len(text) - 1
        while cut > 0 and unicodedata.combining(text[cut]):
            cut -= 1
        if len(text) - cut > _LONGEST_MARKS:
            cut = len(text)  # thousands of marks on one character: no writing, and not worth the memory
        self._hash(text[:cut])
        self._carry = text[cut:]

    def finish(self) -> bytes:
        self._hash(self._carry)
        return self._trimmed.digest()

    def _hash(self, text: str) -> None:
        if not self._begun:
            text = text.lstrip()
        body = text.rstrip()
        if body:
            self._begun = True
            self._all.update(body.encode())
            self._trimmed = self._all.copy()
        self._all.update(text[len(body) :].encode())


class _LongAnswer(_LongText):
    """The same of an answer, without the thoughts that it begins with."""

    def __init__(self) -> None:
        super().__init__()
        self._held: str | None = ""  # what may belong to a thought or its tags; None: something was said
        self._is_thought = False

    def feed(self, text: str) -> None:
        if self._held is not None:
            text = self._behind_thoughts(self._held + text)
        if text:
            super().feed(text)

    def finish(self) -> bytes:
        if self._held and not self._is_thought:
            super().feed(self._held)
        return super().finish()

    def _behind_thoughts(self, text: str) -> str:
        while True:
            if self._is_thought:
                _, end, behind = text.partition(_THOUGHT_ENDS)
                if not end:
                    self._held = text[1 - len(_THOUGHT_ENDS) :]
                    return ""
                text, self._is_thought = behind, False
            text = text.lstrip()
            if not text.startswith(_THOUGHT_BEGINS):
                break
            text, self._is_thought = text[len(_THOUGHT_BEGINS) :], True
        if _THOUGHT_BEGINS.startswith(text):
            self._held = text
            return ""
        self._held = None
        return text
