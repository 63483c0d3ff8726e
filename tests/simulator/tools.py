"""A model that was told in its prompt how to call the client's tools, and to correct what was wrong."""

from __future__ import annotations

import re

from tests.simulator.script import Script, text_behind_directives

_TAG = re.compile(r"<(tool_call_\w+)>")
_RESULT = re.compile(r"^\[result of [^\n]*\]\n", re.MULTILINE)


def asks_again(query: str) -> bool:
    """Whether the answer before was no good."""
    return "Your last message could not be used:" in query


def say_as_told(query: str, script: Script) -> str | None:
    """What the model says of tools; None where the script decides alone."""
    if asks_again(query) and script.again is not None:
        return _with_tags(script.again, query)
    if script.text is not None:
        return _with_tags(script.text, query)
    behind = text_behind_directives(query)
    if (first := _RESULT.search(behind)) and script.then is not None:
        return _with_tags(script.then, query)
    if first:
        return f"The tools said: {_RESULT.sub('', behind[first.start() :])}"
    if script.call is not None:
        calls = (line.partition(" ") for line in script.call.splitlines())
        texts = (
            f'<CALL>\n{{"name": "{name}", "arguments": {arguments or "{}"}}}\n</CALL>' for name, _, arguments in calls
        )
        return _with_tags("\n".join(texts), query)
    return None


def _with_tags(text: str, query: str) -> str:
    """A model without instructions has no tags to write; the last ones count, where a history repeats others."""
    tags = _TAG.findall(query) or ["tool_call"]
    return text.replace("<CALL>", f"<{tags[-1]}>").replace("</CALL>", f"</{tags[-1]}>")
