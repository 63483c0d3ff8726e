"""A form's token and its run, signed, on their way through a client's history: no node keeps them.

    header 1 | run 16 | Dify's token | MAC 10

Hidden behind the message that shows the form, or as the id of a tool call. As in memory's tokens the MAC's key comes
from the app's key and covers Dify's `user`: a form is answered by whom it was shown to.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import uuid
from collections.abc import Sequence

from gateway.exchange.forms.form import Form
from gateway.exchange.memory import zero_width
from gateway.exchange.memory.history import last_answer
from gateway.exchange.turn import Message, Role
from gateway.frozen import frozen

_VERSION = 0xF1  # no version of memory's tokens
_MAC_BYTES = 10
_MAC_LABEL = b"opendify-gateway form token 1: mac"
_CALL_ID = re.compile(r"call_form_([\w-]{4,256})", re.ASCII)


@frozen
class FormReference:
    """A form that a client was shown, and what has been said since."""

    token: str
    run_id: str
    reply: str


class FormSeal:
    """Writes and reads the references of one app and one of its users."""

    def __init__(self, app_key: str, user: str) -> None:
        self._app_key = app_key  # nothing is made of it before there is a form, which hardly any turn has
        self._user = user

    def hidden(self, form: Form) -> str:
        """What goes invisibly behind the form's text; nothing where an id has no form that is known."""
        try:
            return " " + zero_width.hide(self._seal(form))
        except ValueError:
            return ""

    def call_id(self, form: Form) -> str:
        """The id of the tool call that asks for the form. Raises ValueError where an id has no form that is known."""
        return f"call_form_{base64.urlsafe_b64encode(self._seal(form)).decode('ascii').rstrip('=')}"

    def find(self, messages: tuple[Message, ...]) -> FormReference | None:
        """The form that the last answer asked for, and the reply; None where it asked for none."""
        if (answered := last_answer(messages)) is None:
            return None
        asked, said = messages[answered], messages[answered + 1 :]
        for call_id in asked.call_ids:
            if (data := _read_call_id(call_id)) and (found := self._open(data)):
                return FormReference(*found, _words([one for one in said if one.tool_call_id == call_id] or said))
        for data in zero_width.reveal(asked.text):
            if found := self._open(data):
                return FormReference(*found, _words(said))
        return None

    def _seal(self, form: Form) -> bytes:
        run = uuid.UUID(form.run_id)
        if str(run) != form.run_id:
            raise ValueError("not an id as Dify writes it")
        body = bytes([_VERSION]) + run.bytes + form.token.encode("ascii")
        if len(body) + _MAC_BYTES > zero_width.LONGEST_BYTES:
            raise ValueError("a token that is too long")
        return body + self._mac(body)

    def _open(self, data: bytes) -> tuple[str, str] | None:
        """Dify's token and the run."""
        body, mac = data[:-_MAC_BYTES], data[-_MAC_BYTES:]
        if len(body) < 18 or body[0] != _VERSION or not hmac.compare_digest(mac, self._mac(body)):
            return None
        return body[17:].decode("ascii"), str(uuid.UUID(bytes=body[1:17]))

    def _mac(self, body: bytes) -> bytes:
        key = hmac.digest(_MAC_LABEL, self._app_key.encode("utf-8", "surrogatepass"), "sha256")
        user = self._user.encode("utf-8", "surrogatepass")
        return hmac.digest(key, len(user).to_bytes(4, "big") + user + body, "sha256")[:_MAC_BYTES]


def _words(messages: Sequence[Message]) -> str:
    texts = [zero_width.strip(message.text) for message in messages if message.role is not Role.SYSTEM]
    return "\n".join(texts).strip()


def _read_call_id(call_id: str) -> bytes | None:
    if not (match := _CALL_ID.fullmatch(call_id)):
        return None
    try:
        return base64.urlsafe_b64decode(match[1] + "=" * (-len(match[1]) % 4))
    except (binascii.Error, ValueError):
        return None
