"""A file that a message carries, in neutral words: sent with it, at a web address, or uploaded before."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from enum import StrEnum

from gateway.frozen import frozen

_PIECE = 1 << 17  # characters or bytes: about a millisecond


class FileKind(StrEnum):
    """What a file is to a model."""

    IMAGE = "image"
    DOCUMENT = "document"
    AUDIO = "audio"
    VIDEO = "video"


class InlineFile:
    """A file's content as it came: base64, or the bytes themselves.

    Decoded only when it is needed, as clients send the files of their whole history with every request; in pieces, as
    ten megabytes at once would hold up everybody else for 0.1 s; and let go once Dify has it, while the turn that it
    came with lives on. Two are equal if their content is written the same.
    """

    __slots__ = ("_content", "_digest", "size")

    def __init__(self, content: str | bytes) -> None:
        """`content`: bytes, or base64 without white space."""
        self._content: str | bytes = content
        self._digest = ""
        self.size = len(content) if isinstance(content, bytes) else _decoded_size(content)  # bytes

    def decode(self) -> Iterator[bytes]:
        """The file, piece by piece. Raises ValueError for what is no base64."""
        content = self._content
        if isinstance(content, bytes):
            yield content
            return
        if content.find("=", 0, -2) >= 0:
            raise ValueError("padding before the end")
        content += "=" * (-len(content) % 4) if len(content) % 4 else ""  # some clients leave the padding out
        for start in range(0, len(content), _PIECE):
            try:
                yield base64.b64decode(content[start : start + _PIECE], validate=True)
            except binascii.Error as error:
                raise ValueError(str(error)) from error

    def hash(self) -> Iterator[None]:
        """Find the digest, step by step."""
        digest, content = hashlib.sha256(), self._content
        for start in range(0, len(content) if not self._digest else 0, _PIECE):
            piece = content[start : start + _PIECE]
            digest.update(piece if isinstance(piece, bytes) else piece.encode())
            yield
        self._digest = self._digest or digest.hexdigest()

    @property
    def digest(self) -> str:
        """What tells this content from any other."""
        for _ in self.hash():
            pass
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


@frozen
class RemoteFile:
    """A file that whoever wants it fetches from this http(s) address; the gateway never does."""

    url: str


@frozen
class StoredFile:
    """A file that the client uploaded before (/v1/files)."""

    file_id: str


@frozen
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
