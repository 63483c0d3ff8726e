"""A content part that is a file → Attachment: chat completions' parts, and the Responses API's, which clients mix."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes, urlsplit

from gateway.errors import InvalidRequest
from gateway.exchange.attachment import Attachment, FileKind, InlineFile, RemoteFile, StoredFile
from gateway.openai_api.parameters import quote, read_object, read_text, require, wrong_type

MEDIA_TYPE = re.compile(r"[a-z0-9][\w.+-]*/[\w.+-]+", re.ASCII)
_LONGEST_URL = 16_384  # characters; servers take less, signatures included
_LONGEST_HEAD = 1000  # characters of a data URL before its data
# To undo an escape takes 0.3 µs, and nobody else is served meanwhile; of base64 only what it needs is undone, quickly.
_MOST_ESCAPES = 50_000
_BASE64_ESCAPES = (("%2B", "+"), ("%2b", "+"), ("%2F", "/"), ("%2f", "/"), ("%3D", "="), ("%3d", "=")) + tuple(
    (escape, "") for escape in ("%0A", "%0a", "%0D", "%0d", "%20")
)
_AUDIO_FORMAT = re.compile(r"[A-Za-z0-9]{1,10}")
_AUDIO_TYPES = {"mp3": "audio/mpeg", "m4a": "audio/mp4"}  # the others are called audio/<format>


def _url_part(kind: FileKind, name: str) -> Callable[[dict[str, object], str], Attachment]:
    """A part like {"type": "image_url", "image_url": {"url": …}}; some clients leave the object out."""

    def read(fields: dict[str, object], path: str) -> Attachment:
        path = f"{path}.{name}"
        value = require(fields.get(name), path)
        if isinstance(value, str):
            return _read_url(value, path, kind)
        return _read_url(require(read_object(value, path).get("url"), f"{path}.url"), f"{path}.url", kind)

    return read


def _read_input_image(fields: dict[str, object], path: str) -> Attachment:
    if fields.get("file_id") is not None:
        return _stored(fields["file_id"], f"{path}.file_id", FileKind.IMAGE)
    path = f"{path}.image_url"
    return _read_url(require(fields.get("image_url"), path), path, FileKind.IMAGE)


def _read_audio(fields: dict[str, object], path: str) -> Attachment:
    path = f"{path}.input_audio"
    audio = read_object(require(fields.get("input_audio"), path), path)
    form = read_text(require(audio.get("format"), f"{path}.format"), f"{path}.format")
    if not _AUDIO_FORMAT.fullmatch(form):
        raise InvalidRequest(
            f"Invalid value: {quote(form)}. Expected an audio format such as 'wav' or 'mp3'.", param=f"{path}.format"
        )
    form = form.lower()
    data = require(audio.get("data"), f"{path}.data")
    if isinstance(data, str) and _is_data_url(data):  # as Qwen's servers want it; the format says the type
        data = data[data.find(",", 0, _LONGEST_HEAD) + 1 :]
    content = _read_base64(data, f"{path}.data")
    return Attachment(f"{path}.data", content, FileKind.AUDIO, f"audio.{form}", _AUDIO_TYPES.get(form, f"audio/{form}"))


def _read_file(fields: dict[str, object], path: str) -> Attachment:
    path = f"{path}.file"
    return _read_file_fields(read_object(require(fields.get("file"), path), path), path)


def _read_file_fields(fields: dict[str, object], path: str) -> Attachment:
    if fields.get("file_id") is not None:
        return _stored(fields["file_id"], f"{path}.file_id", None)
    name = None
    if fields.get("filename") is not None:
        name = read_text(fields["filename"], f"{path}.filename") or None
    if fields.get("file_url") is not None:
        return _read_url(fields["file_url"], f"{path}.file_url", None, name)
    data, path = require(fields.get("file_data"), f"{path}.file_data"), f"{path}.file_data"
    if isinstance(data, str) and _is_data_url(data):
        return _read_data_url(data, path, None, name)
    if name is None:
        raise InvalidRequest(
            f"Missing required parameter: '{path.removesuffix('file_data')}filename'. Without it nobody knows what "
            "kind of file this is; a data URL with a media type says it, too.",
            param=f"{path.removesuffix('file_data')}filename",
            code="missing_required_parameter",
        )
    return Attachment(path, _read_base64(data, path), name=name)


PARTS: dict[str, Callable[[dict[str, object], str], Attachment]] = {
    "image_url": _url_part(FileKind.IMAGE, "image_url"),
    "input_audio": _read_audio,
    "file": _read_file,
    "input_image": _read_input_image,  # the Responses API's words
    "input_file": _read_file_fields,
    "audio_url": _url_part(FileKind.AUDIO, "audio_url"),  # not OpenAI's, but servers of open models take them
    "video_url": _url_part(FileKind.VIDEO, "video_url"),
}


# --- what a file is written as ----------------------------------------------------------------------------------------


def _read_url(value: object, path: str, kind: FileKind | None, name: str | None = None) -> Attachment:
    if not isinstance(value, str):
        raise wrong_type(path, "a string", value)
    if _is_data_url(value):
        return _read_data_url(value, path, kind, name)
    url = read_text(value.strip(), path)
    if len(url) > _LONGEST_URL:
        raise InvalidRequest(f"Invalid value for '{path}': a URL of over {_LONGEST_URL} characters.", param=path)
    try:
        parts = urlsplit(url)
        is_web = parts.scheme.lower() in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_web = False
    if not is_web:
        raise InvalidRequest(f"Invalid value for '{path}': {quote(url)} is no http(s) URL and no data URL.", param=path)
    return Attachment(path, RemoteFile(url), kind, name)


def _is_data_url(text: str) -> bool:
    return text[:5].lower() == "data:"


def _read_data_url(url: str, path: str, kind: FileKind | None, name: str | None) -> Attachment:
    """data:image/png;base64,… (RFC 2397); its media type says more than the part's type, its `name` is one."""
    comma = url.find(",", 0, _LONGEST_HEAD)
    head = read_text(url[5 : max(comma, 5)], path)
    media_type, *options = (option.strip() for option in head.split(";"))
    media_type = media_type.lower()
    if comma < 0 or not MEDIA_TYPE.fullmatch(media_type):
        raise InvalidRequest(
            f"Invalid value for '{path}': expected a data URL with a media type, like 'data:image/png;base64,…'.",
            param=path,
        )
    for option in options:
        field, _, value = option.partition("=")
        if field.lower() in ("name", "filename") and value:
            name = name or unquote_to_bytes(value).decode("utf-8", "replace")
    data = url[comma + 1 :]
    if options and options[-1].lower() == "base64":
        content = _read_base64(data, path)
    else:
        content = _read_escaped(read_text(data, path), path)
    return Attachment(path, content, kind, name, media_type)


def _read_escaped(text: str, path: str) -> InlineFile:
    if text.count("%") > _MOST_ESCAPES:
        raise InvalidRequest(
            f"Invalid value for '{path}': a data URL with over {_MOST_ESCAPES} escapes has to be base64.", param=path
        )
    content = InlineFile(unquote_to_bytes(text))
    _refuse_empty(content, path)
    return content


def _read_base64(value: object, path: str) -> InlineFile:
    """Whether it can be decoded shows when it has to be; here only what costs next to nothing is looked at."""
    if not isinstance(value, str):
        raise wrong_type(path, "a string", value)
    if not value.isascii():
        raise InvalidRequest(f"Invalid value for '{path}': it is not base64.", param=path)
    if "%" in value:  # a data URL whose base64 was escaped once more
        for escape, character in _BASE64_ESCAPES:
            value = value.replace(escape, character)
    for blank in " \t\r\n":
        value = value.replace(blank, "")
    content = InlineFile(value)
    _refuse_empty(content, path)
    return content


def _refuse_empty(content: InlineFile, path: str) -> None:
    if not content.size:
        raise InvalidRequest(f"Invalid value for '{path}': the file is empty.", param=path)


def _stored(value: object, path: str, kind: FileKind | None) -> Attachment:
    return Attachment(path, StoredFile(read_text(value, path)), kind)
