"""Files: the upload route's rules, and which references a message may carry."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from tornado.httputil import HTTPFile, HTTPHeaders, HTTPInputError, parse_body_arguments

from tests.simulator.apps import FLOW_MODES, App
from tests.simulator.replies import ApiError, Reply, error, json_reply
from tests.simulator.store import Store, UploadedFile, now
from tests.simulator.versions import VersionProfile
from tests.simulator.wire import HttpRequest

_MEGABYTE = 1024 * 1024
_TYPES = ("image", "document", "audio", "video", "custom")
_LIMITS = {
    **dict.fromkeys(("jpg", "jpeg", "png", "webp", "gif", "svg"), 10),
    **dict.fromkeys(("mp3", "m4a", "wav", "amr", "mpga"), 50),
    **dict.fromkeys(("mp4", "mov", "mpeg", "webm"), 100),
}
_OTHER_LIMIT = 15
_FORBIDDEN = '/\\:*?"<>|'


def upload(request: HttpRequest, app: App, store: Store, profile: VersionProfile, base_url: str) -> Reply:
    """POST /v1/files/upload: any type, any user; only the name and the size are checked."""
    fields, file = read_form(request)
    if file is None:
        if profile.strict_bodies:
            raise error(400, "no_file_uploaded", "Please upload your file.")
        raise error(
            400,
            "bad_request_key_error",
            "The browser (or proxy) sent a request that this server could not understand.",
        )
    if not file.content_type:
        raise error(415, "unsupported_file_type", "File type not allowed.")
    if not file.filename:
        raise error(400, "filename_not_exists_error", "The specified filename does not exist.")
    if any(character in file.filename for character in _FORBIDDEN):
        raise error(400, "invalid_param", "Filename contains invalid characters")
    extension = file.filename.rpartition(".")[2].lower() if "." in file.filename else ""
    if len(file.body) > _LIMITS.get(extension, _OTHER_LIMIT) * _MEGABYTE:
        raise error(413, "file_too_large", "File size exceeded. {message}")
    stored = UploadedFile(
        id=str(uuid4()),
        name=file.filename,
        size=len(file.body),
        extension=extension,
        mime_type=file.content_type,
        user=fields.get("user", "DEFAULT-USER"),
        app_key=app.key,
        created_at=now(),
        content=file.body,
    )
    store.files[stored.id] = stored
    shown: dict[str, Any] = {
        "id": stored.id,
        "name": stored.name,
        "size": stored.size,
        "extension": stored.extension,
        "mime_type": stored.mime_type,
        "created_by": store.end_user_id(app.key, stored.user),
        "created_at": stored.created_at,
    }
    shown |= dict.fromkeys(profile.upload_fields)
    if "source_url" in shown:
        shown["source_url"] = f"{base_url}/files/{stored.id}/file-preview?timestamp=1&nonce=2&sign=3"
        shown["tenant_id"] = store.app_id("workspace")
    return json_reply(shown, 201)


def read_form(request: HttpRequest) -> tuple[dict[str, str], HTTPFile | None]:
    """The text fields and the part called `file`."""
    arguments: dict[str, list[bytes]] = {}
    files: dict[str, list[HTTPFile]] = {}
    content_type = request.headers.get("content-type", "")
    if content_type.startswith("multipart/form-data"):
        with contextlib.suppress(HTTPInputError):  # Dify finds no file in it either
            parse_body_arguments(content_type, request.body, arguments, files, HTTPHeaders())
    fields = {name: values[-1].decode() for name, values in arguments.items()}
    return fields, next(iter(files.get("file", ())), None)


@dataclass(frozen=True, slots=True)
class Uploader:
    """Whose files are looked for, and in which release."""

    app: App
    user: str
    store: Store
    profile: VersionProfile


@dataclass(frozen=True, slots=True)
class _Allowed:
    """What an app, or a variable of its form, takes."""

    types: tuple[str, ...]
    extensions: tuple[str, ...]
    methods: tuple[str, ...] = ("local_file", "remote_url")
    custom: bool = True


def read_references(uploader: Uploader, files: Any) -> tuple[dict[str, Any], ...]:
    """The files of a message; all are ignored when the app has uploads off."""
    app, profile = uploader.app, uploader.profile
    if not files or not app.file_upload:
        return ()
    if not isinstance(files, list):
        raise _internal_error()
    in_flow = app.mode in FLOW_MODES
    # Image-only basic apps of 0.15 have no list of types, so nothing is compared with it.
    unlisted = not in_flow and not profile.strict_bodies and app.file_types == ("image",)
    allowed = _Allowed(
        _TYPES if unlisted else app.file_types,
        app.file_extensions,
        app.file_methods,
        custom=in_flow or profile.custom_files_in_basic_apps,
    )
    checked = [_read_reference(file, uploader, allowed) for file in files if isinstance(file, dict)]
    accepted = tuple(file for file in checked if file is not None)
    if len(accepted) > app.file_limit:
        kind = "" if in_flow else "image "
        raise _invalid(f"Number of {kind}files exceeds the maximum limit {app.file_limit}")
    return accepted


def read_inputs_files(uploader: Uploader, inputs: dict[str, Any]) -> dict[str, Any]:
    """The inputs with their files found; their shape has been checked."""
    found = dict(inputs)
    for field in uploader.app.form:
        allowed = _Allowed(field.file_types, field.file_extensions)
        value = found.get(field.variable)
        if field.kind == "file" and value:
            found[field.variable] = _read_reference(value, uploader, allowed)
        elif field.kind == "file-list" and value:
            found[field.variable] = [_read_reference(file, uploader, allowed) for file in value]
    return found


def _read_reference(file: Mapping[str, Any], uploader: Uploader, allowed: _Allowed) -> dict[str, Any] | None:
    method, kind = file.get("transfer_method"), file.get("type")
    if method is None:
        return None
    if kind is not None and kind not in _TYPES:
        raise _invalid(f"'{kind}' is not a valid FileType")
    if method == "remote_url":
        found = _read_remote(file, uploader.profile)
    elif method == "local_file":
        found = _read_local(file, uploader)
    elif method == "tool_file":
        raise _invalid(f"ToolFile {file.get('tool_file_id')} not found")
    else:
        raise _invalid(f"'{method}' is not a valid FileTransferMethod")
    if found is None:
        return None
    extension = f".{found['filename'].rpartition('.')[2]}"
    is_custom = kind in ("custom", None)
    fits = extension in allowed.extensions and allowed.custom if is_custom else kind in allowed.types
    if not fits or method not in allowed.methods:
        raise _invalid(f"File validation failed for file: {found['filename']}")
    return found


def _read_local(file: Mapping[str, Any], uploader: Uploader) -> dict[str, Any]:
    if not file.get("upload_file_id"):
        raise _invalid("Invalid upload file id")
    stored = uploader.store.files.get(_uuid(file["upload_file_id"]))
    owner = (uploader.app.key, uploader.user)
    if stored is None or (uploader.profile.files_bound_to_user and (stored.app_key, stored.user) != owner):
        raise _invalid("Invalid upload file")
    details = {"filename": stored.name, "mime_type": stored.mime_type, "size": stored.size}
    return {"type": file.get("type"), "transfer_method": "local_file", "upload_file_id": stored.id, **details}


def _read_remote(file: Mapping[str, Any], profile: VersionProfile) -> dict[str, Any] | None:
    url = file.get("url")
    if not url:
        if profile.strict_bodies:
            return None  # without a word
        raise _invalid("Invalid file url")
    if not str(url).startswith(("http://", "https://")) or "dead.invalid" in str(url):
        raise _invalid("Reached maximum retries (3) for URL " + str(url)[:60])
    name = str(url).partition("?")[0].rpartition("/")[2]
    return {"type": file.get("type"), "transfer_method": "remote_url", "url": url, "filename": name}


def _uuid(value: Any) -> str:
    try:
        return str(UUID(str(value)))
    except ValueError:
        raise _invalid("Invalid upload file id format") from None


def _invalid(message: str) -> ApiError:
    return error(400, "invalid_param", message)


def _internal_error() -> ApiError:
    return error(
        500,
        "internal_server_error",
        "The server encountered an internal error and was unable to complete your request. "
        "Either the server is overloaded or there is an error in the application.",
    )
