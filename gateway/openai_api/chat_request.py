"""A chat completion request → Turn (OpenAI's API reference, POST /chat/completions)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway import json_codec
from gateway.errors import InvalidRequest
from gateway.exchange.belonging import conversation_id
from gateway.exchange.turn import JSONValue, Message, Role, Turn
from gateway.frozen import frozen
from gateway.openai_api import parameters
from gateway.openai_api.content_parts import PART_SEPARATOR, read_content
from gateway.openai_api.parameters import pick, read_array, read_object, read_text, require
from gateway.openai_api.response_format import read_response_format
from gateway.openai_api.tools import read_calls, read_tool_choice

Fields = dict[str, object]

# Whatever else a turn is made of; many requests name nothing of it.
_SHAPING = frozenset({*parameters.CHAT_PARAMETERS, "conversation_id"}) - {
    *("model", "messages", "stream", "stream_options")
}


def parse_request(body: object) -> Turn:
    """Read a decoded body. Raises InvalidRequest, with the path of the parameter that is at fault."""
    fields = read_object(body, "")
    parameters.check_types(fields, parameters.CHAT_PARAMETERS)
    if _SHAPING.isdisjoint(fields):
        stream = fields.get("stream") is True
        return Turn(_read_model(fields), _read_messages(fields), stream, _read_include_usage(fields))
    for limit in LIMITS:
        limit.check(fields)
    return Turn(
        model=_read_model(fields),
        messages=_read_messages(fields),
        stream=fields.get("stream") is True,
        include_usage=_read_include_usage(fields),
        inputs=_find_inputs(fields),
        user=_read_user(fields),
        stop=parameters.read_stop(fields.get("stop")),
        max_tokens=parameters.read_max_tokens(fields),
        ignored=parameters.without_a_place(fields),
        tool_choice=read_tool_choice(fields),
        response_format=read_response_format(fields.get("response_format")),
        conversation_id=_read_conversation_id(fields.get("conversation_id")),
    )


# --- what no answer can fulfil ---------------------------------------------------------------------------------------


@frozen
class Limit:
    """A parameter that is served only in part: ignoring the rest would make the answer a lie."""

    param: str
    allows: Callable[[object], bool]
    message: str

    def check(self, fields: Mapping[str, object]) -> None:
        value = fields.get(self.param)
        if value is not None and not self.allows(value):
            raise InvalidRequest(self.message, param=self.param, code="unsupported_parameter")


def _lets_text_modality(value: object) -> bool:
    return isinstance(value, list) and all(item == "text" for item in value)


LIMITS = (
    Limit("n", lambda value: value == 1, "'n' must be 1: this model gives one choice per request."),
    Limit("modalities", _lets_text_modality, "'modalities' may hold 'text' only: this model answers with text."),
    Limit("audio", lambda value: False, "'audio' is not supported: this model answers with text."),
)


# --- messages ---------------------------------------------------------------------------------------------------------


@frozen
class RoleRule:
    """What a role's messages are to us, and whether they may come without content."""

    role: Role
    needs_content: bool = True


ROLES = {
    "system": RoleRule(Role.SYSTEM),
    "developer": RoleRule(Role.SYSTEM),  # the newer word for system
    "user": RoleRule(Role.USER),
    "assistant": RoleRule(Role.ASSISTANT, needs_content=False),  # null or absent beside tool calls
    "tool": RoleRule(Role.TOOL, needs_content=False),  # a tool may have nothing to say
    "function": RoleRule(Role.TOOL, needs_content=False),  # before tools there were functions
}


def _read_model(fields: Fields) -> str:
    model = read_text(require(fields.get("model"), "model"), "model")
    if not model:
        raise InvalidRequest("Invalid 'model': expected a non-empty string.", param="model")
    return model


def _read_messages(fields: Fields) -> tuple[Message, ...]:
    items = read_array(require(fields.get("messages"), "messages"), "messages")
    if not items:
        raise InvalidRequest("Invalid 'messages': expected a non-empty array.", param="messages", code="empty_array")
    messages = tuple(
        [_read_plain(item) or _read_message(item, f"messages[{index}]") for index, item in enumerate(items)]
    )
    for message in messages:
        if message.text or message.tool_calls or message.attachments:
            return messages
    raise InvalidRequest("Invalid 'messages': none of the messages has any text or file.", param="messages")


def _read_plain(item: object) -> Message | None:
    """A message that is a role and a text, as nearly all are; None: it is something else, or wrong."""
    if type(item) is not dict or len(item) != 2:
        return None
    role, content = item.get("role"), item.get("content")
    if type(role) is not str or type(content) is not str or (rule := ROLES.get(role)) is None:
        return None
    try:
        return Message(rule.role, parameters.storable(content))
    except UnicodeEncodeError:
        return None


def _read_message(item: object, path: str) -> Message:
    fields = read_object(item, path)
    rule = pick(ROLES, require(fields.get("role"), f"{path}.role"), f"{path}.role")
    if rule.needs_content:
        require(fields.get("content"), f"{path}.content")
    content = read_content(fields.get("content"), f"{path}.content")
    text, attachments = content.text, content.attachments
    if rule.role is Role.ASSISTANT:
        refusal = "" if fields.get("refusal") is None else read_text(fields["refusal"], f"{path}.refusal")
        text = PART_SEPARATOR.join(part for part in (text, refusal) if part)
        return Message(rule.role, text, attachments, read_calls(fields, path))
    if rule.role is Role.TOOL and fields.get("tool_call_id") is not None:
        call_id = read_text(fields["tool_call_id"], f"{path}.tool_call_id")
        return Message(rule.role, text, attachments, tool_call_id=call_id)
    return Message(rule.role, text, attachments)


# --- the rest ---------------------------------------------------------------------------------------------------------


def _read_user(fields: Fields) -> str | None:
    """The empty string names nobody; Dify refuses it."""
    user = fields.get("user")
    return None if user is None else read_text(user, "user") or None


def _read_conversation_id(value: object) -> str | None:
    """Dify's own field: the chat goes on there, and the rest of the history is not sent."""
    return None if value is None else conversation_id(read_text(value, "conversation_id"), "conversation_id")


def _read_include_usage(fields: Fields) -> bool:
    """Tolerated without `stream`: several clients send it always."""
    options = fields.get("stream_options")
    include_usage = options.get("include_usage") if isinstance(options, dict) else None
    if include_usage is None:
        return False
    if not isinstance(include_usage, bool):
        raise parameters.wrong_type("stream_options.include_usage", parameters.BOOLEAN.words, include_usage)
    return include_usage


def _find_inputs(fields: Fields) -> Mapping[str, JSONValue]:
    """`inputs` of the body, or else of `metadata`, where clients without extra body fields can put them."""
    if fields.get("inputs") is not None:
        return parameters.read_inputs(fields["inputs"], "inputs")
    metadata = fields.get("metadata")
    inputs = metadata.get("inputs") if isinstance(metadata, dict) else None
    if inputs is None:
        return {}
    path = "metadata.inputs"
    if isinstance(inputs, str):  # OpenAI's metadata values are strings
        try:
            inputs = json_codec.loads_strict(read_text(inputs, path).encode())
        except ValueError as error:
            raise InvalidRequest(f"Invalid value for '{path}': the string is not JSON.", param=path) from error
    return parameters.read_inputs(inputs, path)
