"""What /parameters says about files: which an app takes, and how large. Tolerant: what cannot be read is no limit.

Basic apps of 0.15 tell it in an `image` object, flows and later versions beside it (measured on 0.15.3 and 1.12.1).
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.exchange.model import FileRules
from gateway.frozen import frozen

_MEGABYTE = 1024 * 1024
_MANY = 1000  # flows write 100000 into every variable's max_length


@frozen
class SizeLimits:
    """The largest file of each type in bytes, by the extension of its name; None where Dify tells none."""

    image: int | None = None
    audio: int | None = None
    video: int | None = None
    other: int | None = None


NO_LIMITS = SizeLimits()


def read_message_rules(upload: object) -> FileRules | None:
    """`file_upload`: the files of a message. None: the app takes none."""
    if not isinstance(upload, dict):
        return None
    image = upload.get("image")
    image = image if isinstance(image, dict) else {}
    if upload.get("enabled") is not True and image.get("enabled") is not True:
        return None
    types = _words(upload.get("allowed_file_types"))
    if not types and "enabled" not in upload:
        types = ("image",)  # 0.15: the image object is all there is
    return FileRules(
        types=types,
        extensions=_extensions(upload),
        methods=_words(upload.get("allowed_file_upload_methods")),
        image_methods=_words(image.get("transfer_methods")),
        number=_number(upload.get("number_limits")) or _number(image.get("number_limits")),
    )


def read_variable_rules(kind: str, field: Mapping[str, object]) -> FileRules | None:
    """An entry of `user_input_form`. None: it is no file variable."""
    if kind not in ("file", "file-list"):
        return None
    return FileRules(
        types=_words(field.get("allowed_file_types")),
        extensions=_extensions(field),
        methods=_words(field.get("allowed_file_upload_methods")),
        number=1 if kind == "file" else _number(field.get("max_length")),
    )


def read_size_limits(system: object) -> SizeLimits:
    """`system_parameters`, in megabytes there."""
    limits = system if isinstance(system, dict) else {}
    return SizeLimits(
        image=_bytes(limits.get("image_file_size_limit")),
        audio=_bytes(limits.get("audio_file_size_limit")),
        video=_bytes(limits.get("video_file_size_limit")),
        other=_bytes(limits.get("file_size_limit")),
    )


def _extensions(fields: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(word.lower() for word in _words(fields.get("allowed_file_extensions")))


def _words(value: object) -> tuple[str, ...]:
    return tuple(word for word in value if isinstance(word, str)) if isinstance(value, list) else ()


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MANY else None


def _bytes(value: object) -> int | None:
    return int(value * _MEGABYTE) if isinstance(value, int | float) and value > 0 else None
