"""What Dify tells about an app → AppDescription. Tolerant: an app with one odd field is still an app."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from gateway.dify_api.app import AppMode
from gateway.dify_api.file_rules import NO_LIMITS, SizeLimits, read_message_rules, read_size_limits, read_variable_rules
from gateway.errors import UpstreamProtocolError
from gateway.exchange.model import FileRules, InputField
from gateway.exchange.turn import JSONValue
from gateway.frozen import frozen

DEFAULT_NAME = "dify-app"  # for an app whose name is empty
MAX_NAME_LENGTH = 200  # names become model ids, which travel in URLs and menus

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SURROGATES = re.compile("[\ud800-\udfff]")  # half an emoji: no UTF-8 can carry it

# What makes an object Dify's: each version measured or read has at least these.
_INFO_KEYS = frozenset({"name", "mode"})
_PARAMETERS_KEYS = frozenset({"user_input_form", "opening_statement", "file_upload", "system_parameters"})


@frozen
class AppDescription:
    """An app as its server describes it."""

    name: str
    description: str = ""
    mode: AppMode | None = None  # None: Dify before 1.4, or a mode that this gateway does not know
    inputs: tuple[InputField, ...] = ()
    files: FileRules | None = None
    sizes: SizeLimits = NO_LIMITS
    moderated: bool = False
    cites: bool = True
    keeps_first_inputs: bool = False


def read_description(info: object, parameters: object) -> AppDescription:
    """Read the decoded bodies of /info and /parameters. Raises UpstreamProtocolError when they are not Dify's."""
    info = _object_with(info, _INFO_KEYS, "/info")
    parameters = _object_with(parameters, _PARAMETERS_KEYS, "/parameters")
    form = parameters.get("user_input_form")
    fields: dict[str, InputField] = {}
    for field in map(_read_field, form if isinstance(form, list) else []):
        if field:
            fields.setdefault(field.variable, field)
    return AppDescription(
        name=_read_name(info.get("name")),
        description=_text(info.get("description")),
        mode=_read_mode(info.get("mode")),
        inputs=tuple(fields.values()),
        files=read_message_rules(parameters.get("file_upload")),
        sizes=read_size_limits(parameters.get("system_parameters")),
        moderated=_is_on(parameters.get("sensitive_word_avoidance"), default=False),
        cites=_is_on(parameters.get("retriever_resource"), default=True),
        keeps_first_inputs="mode" not in info,  # so do 0.15's conversations; 1.0 to 1.3 only look like it
    )


def mode_from_probes(answers: Sequence[tuple[int, object]]) -> AppMode | None:
    """Judge by the answers (HTTP status, decoded body) to `calls.mode_probes`, in their order. None: cannot be told.

    Measured on 0.15.3 and 1.12.1: the chat route answers `not_chat_app`, the workflow route `not_workflow_app` when
    the mode is wrong, and `invalid_param` when only the body is.
    """
    if len(answers) != 3:
        return None
    chat, workflow, (_, parameters) = answers
    if _refused(chat, "invalid_param", "not_found"):
        if "blocking" in _message(chat):  # "Agent Chat App does not support blocking mode"
            return AppMode.AGENT_CHAT
        # A flow that is not recognised is asked the same way; before 1.13 its last event is that of a chat app.
        return AppMode.ADVANCED_CHAT if _is_flow(parameters) else AppMode.CHAT
    if _refused(chat, "not_chat_app"):
        if _refused(workflow, "invalid_param"):
            return AppMode.WORKFLOW
        if _refused(workflow, "not_workflow_app"):
            return AppMode.COMPLETION  # the only mode left
    return None


def _is_flow(parameters: object) -> bool:
    """Whether /parameters is that of an app that a workflow engine runs.

    Dify before 1.4 shows it in no other cheap way. The app models of 0.15.3 give every basic app an image upload
    setting with `detail`, which flows lack, and only flows repeat an input's kind as its `type`. Holds for every
    recorded answer of 0.15.3 and 1.12.1.
    """
    if not isinstance(parameters, dict) or not _PARAMETERS_KEYS & parameters.keys():
        return False
    upload = parameters.get("file_upload")
    if isinstance(upload, dict):
        image = upload.get("image")
        if not (isinstance(image, dict) and "detail" in image):
            return True
    form = parameters.get("user_input_form")
    entries = [entry for entry in form if isinstance(entry, dict)] if isinstance(form, list) else []
    return any(
        isinstance(field, dict) and field.get("type") == kind and "config" not in field  # config: an external tool
        for entry in entries
        for kind, field in entry.items()
    )


def _refused(answer: tuple[int, object], *codes: str) -> bool:
    status, body = answer
    return status in (400, 404) and isinstance(body, dict) and body.get("code") in codes


def _message(answer: tuple[int, object]) -> str:
    _, body = answer
    return str(body.get("message")) if isinstance(body, dict) else ""


def _object_with(value: object, keys: frozenset[str], where: str) -> Mapping[str, object]:
    if isinstance(value, dict) and keys & value.keys():
        return value
    raise UpstreamProtocolError(f"What {where} answered is not Dify's; check the address of Dify's service API.")


def _read_name(value: object) -> str:
    name = _CONTROLS.sub(" ", _text(value)).strip()
    return name[:MAX_NAME_LENGTH].rstrip() or DEFAULT_NAME


def _read_mode(value: object) -> AppMode | None:
    return AppMode(value) if isinstance(value, str) and value in list(AppMode) else None


def _read_field(entry: object) -> InputField | None:
    """One entry of user_input_form: {kind: {variable, label, required, …}}. None: an entry that names nothing."""
    if not isinstance(entry, dict):
        return None
    for kind, field in entry.items():
        if isinstance(field, dict) and (variable := _text(field.get("variable"))):
            options = field.get("options")
            default = field.get("default")
            return InputField(
                variable=variable,
                kind=_text(kind),
                label=_text(field.get("label")),
                required=field.get("required") is True,
                max_length=_read_limit(field.get("max_length")),
                options=tuple(map(_text, filter(_is_text, options))) if isinstance(options, list) else (),
                default=None if default == "" else _json_value(default),  # an unset default is written as ""
                files=read_variable_rules(_text(kind), field),
            )
    return None


def _is_on(feature: object, default: bool) -> bool:
    """A feature's switch; not every version tells every feature."""
    told = feature.get("enabled") if isinstance(feature, dict) else None
    return told if isinstance(told, bool) else default


def _read_limit(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    return None  # 0 means no limit


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _text(value: object) -> str:
    return _SURROGATES.sub("\ufffd", value) if isinstance(value, str) else ""


def _json_value(value: object) -> JSONValue:
    return value if isinstance(value, str | int | float | bool | list | dict) else None
