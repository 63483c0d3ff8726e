"""What has been streamed so far, remembered as a fingerprint: enough to compare it with the text Dify settles on."""

from __future__ import annotations

from hashlib import blake2b

_FOLD_PIECES = 64
_FOLD_CHARS = 4096
_HEAD_CHARS = 4096


class StreamedText:
    """Deltas in, their fingerprint kept; an answer of any size costs the same memory.

    Deltas are noted in a list and hashed in batches, as a hash call costs more than a delta. The fingerprint of the
    text without its trailing whitespace is kept apart, because Dify strips settled texts now and then.
    """

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._piece_chars = 0
        self._head = ""  # the text's first characters, as they are
        self._half = ""  # the first half of a surrogate pair; its other half comes with the next delta
        self._hash = blake2b(digest_size=16)
        self._length = 0
        self._trimmed_hash = self._hash.copy()
        self._trimmed_length = 0

    @property
    def length(self) -> int:
        """Characters streamed so far."""
        return self._length + self._piece_chars

    def add(self, text: str) -> str:
        """Note a delta; return it as it may be shown, which is valid Unicode and may be empty."""
        if self._half or not text.isascii():
            text = self._mend(text)
        if text:
            self._pieces.append(text)
            self._piece_chars += len(text)
            if self._piece_chars >= _FOLD_CHARS or len(self._pieces) >= _FOLD_PIECES:
                self._fold()
        return text

    def end(self) -> str:
        """No more deltas: return what `add` held back."""
        half, self._half = self._half, ""
        return self.add("\ufffd") if half else ""

    def begins_with(self, text: str) -> bool:
        """Whether the deltas begin with `text`; of a long one it is not known, and the answer is no."""
        self._fold()
        return self._head.startswith(text)

    def missing_from(self, settled: str) -> str | None:
        """What must be added to the deltas to get `settled`: "" if nothing worth it, None if they differ."""
        self._fold()
        settled = mend_surrogates(settled)
        if _digest(settled[: self._length]) == self._hash.digest():
            rest = settled[self._length :]
            return rest if rest.strip() or not self._length else ""
        trimmed = settled.rstrip()
        same = len(trimmed) == self._trimmed_length and _digest(trimmed) == self._trimmed_hash.digest()
        return "" if same else None

    def _mend(self, text: str) -> str:
        # Dify 0.15 and the model plugins may split an emoji's two halves over two deltas.
        text = self._half + text
        self._half = ""
        if "\ud800" <= text[-1:] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return mend_surrogates(text)

    def _fold(self) -> None:
        text = "".join(self._pieces)
        self._head += text[: _HEAD_CHARS - len(self._head)]
        self._pieces, self._piece_chars = [], 0
        trimmed = text.rstrip()
        if trimmed:
            self._hash.update(trimmed.encode())
            self._trimmed_hash = self._hash.copy()
            self._trimmed_length = self._length + len(trimmed)
        self._hash.update(text[len(trimmed) :].encode())
        self._length += len(text)


def mend_surrogates(text: str) -> str:
    """Join surrogate pairs that JSON escapes left apart; put U+FFFD for those without a partner.

    A text with a lone surrogate cannot be encoded as UTF-8, so it would break whoever handles it next.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()
