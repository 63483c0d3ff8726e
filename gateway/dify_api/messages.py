"""What Dify tells of conversations: which there are, what was said in them, and what could come next."""

from __future__ import annotations

from gateway.dify_api.streamed_text import mend_surrogates
from gateway.exchange.memory.comparison import PastTurn


def is_last_message(listing: object, message_id: str) -> bool:
    """Whether this is the newest message of a listing that was asked for with limit=1.

    A listing that cannot be read says nothing against it.
    """
    entries = _entries(listing)
    return entries is None or any(entry.get("id") == message_id for entry in entries)


def newest_conversation(listing: object) -> str | None:
    """The first one of a listing, which Dify orders by `-updated_at` unless told otherwise; None: there is none."""
    found = [entry.get("id") for entry in _entries(listing) or []]
    return found[0] if found and isinstance(found[0], str) and found[0] else None


def read_past(listing: object) -> list[PastTurn] | None:
    """What was said, oldest first; None for a listing that cannot be read.

    Dify lists a page from old to new, and its documentation says the opposite.
    """
    entries = _entries(listing)
    if entries is None:
        return None
    times = [time for entry in entries if isinstance(time := entry.get("created_at"), int | float)]
    if len(times) == len(entries) and times and times[0] > times[-1]:
        entries.reverse()
    return [PastTurn(_text(entry.get("query")), _text(entry.get("answer"))) for entry in entries]


def read_suggestions(body: object) -> tuple[str, ...]:
    """The questions that GET /messages/{id}/suggested answers."""
    questions = body.get("data") if isinstance(body, dict) else None
    if not isinstance(questions, list):
        return ()
    return tuple(mend_surrogates(question) for question in questions if isinstance(question, str) and question.strip())


def _entries(listing: object) -> list[dict[str, object]] | None:
    entries = listing.get("data") if isinstance(listing, dict) else None
    if not isinstance(entries, list):
        return None
    return [entry for entry in entries if isinstance(entry, dict)]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
