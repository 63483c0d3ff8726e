"""What a file is called and which type it has for Dify, told from what a client says of it.

The extensions are Dify's own classes (1.12); documents beyond them are documents all the same unless the app lists
their extension as a custom type.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from gateway.exchange.attachment import Attachment, FileKind, RemoteFile
from gateway.frozen import frozen

_EXTENSIONS: dict[FileKind, frozenset[str]] = {
    FileKind.IMAGE: frozenset({"jpg", "jpeg", "png", "webp", "gif", "svg"}),
    FileKind.AUDIO: frozenset({"mp3", "m4a", "wav", "amr", "mpga"}),
    FileKind.VIDEO: frozenset({"mp4", "mov", "mpeg", "webm"}),
    FileKind.DOCUMENT: frozenset(
        {"txt", "markdown", "md", "mdx", "pdf", "html", "htm", "xlsx", "xls", "docx", "csv", "vtt", "properties"}
        | {"doc", "eml", "msg", "pptx", "ppt", "xml", "epub"}
    ),
}

# The extension of a file without a name, and the media type of one without a type. Of several the first is the best.
_MEDIA_TYPES: tuple[tuple[str, str], ...] = (
    ("image/jpeg", "jpg"),
    ("image/jpeg", "jpeg"),
    ("image/jpg", "jpg"),
    ("image/png", "png"),
    ("image/webp", "webp"),
    ("image/gif", "gif"),
    ("image/svg+xml", "svg"),
    ("audio/mpeg", "mp3"),
    ("audio/mp3", "mp3"),
    ("audio/wav", "wav"),
    ("audio/x-wav", "wav"),
    ("audio/mp4", "m4a"),
    ("audio/x-m4a", "m4a"),
    ("video/mp4", "mp4"),
    ("video/quicktime", "mov"),
    ("video/mpeg", "mpeg"),
    ("video/webm", "webm"),
    ("application/pdf", "pdf"),
    ("text/plain", "txt"),
    ("text/markdown", "md"),
    ("text/html", "html"),
    ("text/csv", "csv"),
    ("application/json", "json"),
    ("application/xml", "xml"),
    ("application/zip", "zip"),
    ("application/epub+zip", "epub"),
    ("application/msword", "doc"),
    ("application/vnd.ms-excel", "xls"),
    ("application/vnd.ms-powerpoint", "ppt"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
    ("application/vnd.openxmlformats-officedocument.presentationml.presentation", "pptx"),
)
_NO_TYPE = "application/octet-stream"
_EXTENSION_OF = dict(reversed(_MEDIA_TYPES))
_MEDIA_TYPE_OF = {extension: media_type for media_type, extension in reversed(_MEDIA_TYPES)}

# Dify up to 1.12 refuses names with these, later versions those with the first two; a header cannot carry controls.
_FORBIDDEN = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]+')
_SUBTYPE = re.compile(r"[a-z0-9]{2,5}")
_BLANK = "." + "".join(character for character in map(chr, range(0x3001)) if character.isspace())
_LONGEST_READ = 4096  # characters at a name's end; to clean a megabyte of them would hold up everybody
_LONGEST_NAME = 200  # Dify cuts longer ones at their first dot


@frozen
class FileType:
    """A file as Dify is to see it."""

    kind: FileKind
    name: str  # one that Dify takes
    media_type: str

    @property
    def extension(self) -> str:
        """With its dot, in lower case; empty if the name has none."""
        return _extension(self.name)

    @property
    def is_common(self) -> bool:
        """Whether Dify knows the extension; its flows compare that with the type."""
        return _kind_of_extension(self.extension) is not None

    @property
    def size_class(self) -> FileKind:
        """Whose size limit Dify applies: it looks at the name alone."""
        return _kind_of_extension(self.extension) or FileKind.DOCUMENT


def file_type(attachment: Attachment) -> FileType:
    """Tell name, type and kind; the media type tells more than the name, and both more than the kind of the part."""
    media_type = attachment.media_type or ""
    given = attachment.name or _name_in_url(attachment)
    if media_type == _NO_TYPE and _extension(given)[1:] in _MEDIA_TYPE_OF:
        media_type = ""  # browsers say so of what they do not know; models are told the type, and refuse that one
    main = media_type.partition("/")[0]
    kind = (
        FileKind(main)
        if main in (FileKind.IMAGE, FileKind.AUDIO, FileKind.VIDEO)
        else _kind_of_extension(_extension(given)) or (FileKind.DOCUMENT if media_type else attachment.kind)
    ) or FileKind.DOCUMENT
    name = _clean(given) or kind.value
    if not _extension(name) and media_type:
        name += f".{_extension_for(media_type, kind)}"
    media_type = media_type or _MEDIA_TYPE_OF.get(_extension(name)[1:], _NO_TYPE)
    return FileType(kind, name, media_type)


def _extension_for(media_type: str, kind: FileKind) -> str:
    if known := _EXTENSION_OF.get(media_type):
        return known
    main, _, subtype = media_type.partition("/")
    if kind is not FileKind.DOCUMENT and _SUBTYPE.fullmatch(subtype):
        return subtype  # image/heic
    return "txt" if main == "text" else "bin"


def _name_in_url(attachment: Attachment) -> str:
    if not isinstance(attachment.content, RemoteFile):
        return ""
    return unquote(urlsplit(attachment.content.url).path.rpartition("/")[2])


def _clean(name: str) -> str:
    name = name.replace("\\", "/").rpartition("/")[2][-_LONGEST_READ:]
    name = _FORBIDDEN.sub("_", name).strip(_BLANK)
    if len(name) <= _LONGEST_NAME:
        return name
    extension = _extension(name)
    return name[: _LONGEST_NAME - len(extension)] + extension


def _extension(name: str) -> str:
    stem, dot, extension = name.rpartition(".")
    return f".{extension.lower()}" if dot and stem and 0 < len(extension) <= 10 else ""


def _kind_of_extension(extension: str) -> FileKind | None:
    return next((kind for kind, extensions in _EXTENSIONS.items() if extension[1:] in extensions), None)
