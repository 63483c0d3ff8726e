"""What a conversation holds, as GET /messages lists it, and what could come next in it."""

from __future__ import annotations

from gateway.dify_api.streamed_text import mend_surrogates


def is_last_message(listing: object, message_id: str) -> bool:
    """Whether this is the newest message of a listing that was asked for with limit=1.

    A listing that cannot be read says nothing against it.
    """
    entries = listing.get("data") if isinstance(listing, dict) else None
    if not isinstance(entries, list):
        return True
    return any(isinstance(entry, dict) and entry.get("id") == message_id for entry in entries)


def read_suggestions(body: object) -> tuple[str, ...]:
    """The questions that GET /messages/{id}/suggested answers."""
    questions = body.get("data") if isinstance(body, dict) else None
    if not isinstance(questions, list):
        return ()
    return tuple(mend_surrogates(question) for question in questions if isinstance(question, str) and question.strip())
