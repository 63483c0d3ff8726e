"""A file that a message carries, in neutral words: sent with it, at a web address, or uploaded before."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from enum import StrEnum


class FileKind(StrEnum):
    """What a file is to a model."""

    IMAGE = "image"
    DOCUMENT = "document"
    AUDIO = "audio"
    VIDEO = "video"


class InlineFile:
    """A file's content as it came: base64, or the bytes themselves.

    Decoded only when it is needed, as clients send the files of their whole history with every request; and let go once
    Dify has it, while the turn that it came with lives on. Two are equal if their content is written the same.
    """

    __slots__ = ("_content", "_digest", "size")

    def __init__(self, content: str | bytes) -> None:
        """`content`: bytes, or base64 without white space."""
        self._content: str | bytes = content
        self._digest = ""
        self.size = len(content) if isinstance(content, bytes) else _decoded_size(content)  # bytes

    def decode(self) -> bytes:
        """The file. Raises ValueError for what is no base64."""
        content = self._content
        if isinstance(content, bytes):
            return content
        padding = "=" * (-len(content) % 4)  # some clients leave it out
        try:
            return base64.b64decode(content + padding if padding else content, validate=True)
        except binascii.Error as error:
            raise ValueError(str(error)) from error

    @property
    def digest(self) -> str:
        """What tells this content from any other."""
        if not self._digest:
            content = self._content
            self._digest = hashlib.sha256(content if isinstance(content, bytes) else content.encode()).hexdigest()
        return self._digest

    def let_go(self) -> None:
        """Free the memory; nothing but its size is asked of it from now on."""
        self._content = b""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, InlineFile) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"InlineFile({self.digest})"


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that whoever wants it fetches from this http(s) address; the gateway never does."""

    url: str


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that the client uploaded before (/v1/files)."""

    file_id: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """One file of a message, and what the client says of it."""

    param: str  # the path of the request's field that holds it, for errors
    content: InlineFile | RemoteFile | StoredFile
    kind: FileKind | None = None  # None: its type and name tell
    name: str | None = None
    media_type: str | None = None  # in lower case, without parameters

    @property
    def mention(self) -> str:
        """What stands for the file where only text can go."""
        return f"[attached: {self.name or self.kind or 'file'}]"


def _decoded_size(content: str) -> int:
    symbols = len(content) - content.endswith("=") - content.endswith("==")
    return symbols * 3 // 4
