"""What chat front ends ask for themselves, of the model that their user talks to: a title, tags, what to ask next.

Such a request is no turn of the user's conversation, and a program reads its answer. It is known by the shape of the
front end's own template, from the begin of its text to the end: people, too, write "### Task:". What a user or a model
has said stands inside of that shape and is not looked at. Seen in Open WebUI 0.5 to 0.9 and in LibreChat 0.7 to 0.8;
an administrator may change the wording, so the table goes by headings, by the fields of the JSON that is asked for, and
by tags.
"""

from __future__ import annotations

import re

from gateway.exchange.turn import Role, Turn
from gateway.frozen import frozen


@frozen
class SideCall:
    """One kind of request that is no turn, by the text of its one message (and of the system's)."""

    task: str  # a metric's label
    begin: str
    landmarks: tuple[re.Pattern[str], ...]  # what stands between, in this order
    end: str = ""
    system: str = ""  # what the system text begins with
    streamed: bool = False  # whether it comes as a stream, too

    def fits(self, text: str) -> bool:
        """Whether the text has this shape; takes a time that grows with its length and no faster."""
        if not text.startswith(self.begin) or not text.endswith(self.end):
            return False
        at = len(self.begin)
        for landmark in self.landmarks:
            if (found := landmark.search(text, at)) is None:
                return False
            at = found.end()
        return at + len(self.end) <= len(text)


def _landmarks(*patterns: str) -> tuple[re.Pattern[str], ...]:
    return tuple(map(re.compile, patterns))


def _open_webui(task: str, field: str, *behind: str, end: str = "</chat_history>") -> SideCall:
    """`### Task:`, …, `### Output`, a JSON object with this field, …, the chat between tags."""
    output = _landmarks(r"\n#{2,5} \**Output\b", rf'\{{\s*"{field}"\s*:', "<chat_history>", *behind)
    return SideCall(task, "### Task:", output, end)


def _librechat(begin: str, *landmarks: str, end: str = "") -> SideCall:
    return SideCall("title", begin, _landmarks(*landmarks), end, streamed=True)


_TITLE = "a concise, 5-word-or-less title for the conversation"

SIDE_CALLS = (
    _open_webui("title", "title"),
    _open_webui("tags", "tags"),
    _open_webui("follow_ups", "follow_ups"),
    _open_webui("search_queries", "queries"),
    _open_webui("image_prompt", "prompt"),
    _open_webui("autocompletion", "text", "</chat_history>", "<type>", "<text>", "</text>", end="Output:"),
    SideCall("emoji", "Your task is to reflect the speaker", _landmarks("emoji", r'\nMessage: """'), end='"""'),
    SideCall("tool_choice", "Query: History:\n", _landmarks(r"\nQuery: "), system="Available Tools: ["),
    _librechat("Analyze this conversation and provide:", r"1\. The detected language\b", r"\nUser: ", r"\nAI: "),
    _librechat(f"Provide {_TITLE}", r"\nConversation:\s", r"\bUser: ", r"\nAI: "),
    _librechat(f"Please generate {_TITLE}", r"\|\|>User:", r"\|\|>Response:", end="||>Title:"),
)

_BEGINS = tuple({kind.begin for kind in SIDE_CALLS})
TASKS = tuple(dict.fromkeys(kind.task for kind in SIDE_CALLS))


def recognise(turn: Turn) -> str | None:
    """The task of a front end that this turn is; None: it is a turn of somebody's chat."""
    spoken = [message for message in turn.messages if message.role is not Role.SYSTEM]
    spoken = spoken or list(turn.messages)  # LibreChat before 0.7.7 gives the system the word
    if len(spoken) != 1 or spoken[0].role not in (Role.USER, Role.SYSTEM):
        return None
    text = spoken[0].text.strip()
    if not text.startswith(_BEGINS):
        return None
    system = "\n".join([message.text for message in turn.messages if message.role is Role.SYSTEM])
    for kind in SIDE_CALLS:
        if (kind.streamed or not turn.stream) and system.startswith(kind.system) and kind.fits(text):
            return kind.task
    return None
