"""What a front end has looked up for a question and put in front of it, in the one request that asks it.

Open WebUI (0.5 to 0.11) does so with documents and with pages of the web; the history that it shows afterwards has the
question alone. So this is no part of what a chat shows. An administrator may have changed the template: then the
question looks edited, and the chat is folded.
"""

from __future__ import annotations

_BEGIN = "### Task:\nRespond to the user query using the provided context"
_CONTEXT, _CONTEXT_ENDS = "<context>", "</context>"
_QUERY, _QUERY_ENDS = "<user_query>", "</user_query>"  # around the question, until 0.5


def bare_question(text: str) -> str:
    """The text without the first such template and what it brought; takes a time that grows with its length."""
    begin = text.find(_BEGIN)
    context = text.find(_CONTEXT, begin) if begin >= 0 else -1
    end = text.find(_CONTEXT_ENDS, context) if context >= 0 else -1
    if end < 0:
        return text
    question = text[end + len(_CONTEXT_ENDS) :].strip()
    if question.startswith(_QUERY) and question.endswith(_QUERY_ENDS):
        question = question[len(_QUERY) : -len(_QUERY_ENDS)]
    return text[:begin] + question
