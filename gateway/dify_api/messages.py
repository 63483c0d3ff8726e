"""What a conversation holds, as GET /messages lists it."""

from __future__ import annotations


def is_last_message(listing: object, message_id: str) -> bool:
    """Whether this is the newest message of a listing that was asked for with limit=1.

    A listing that cannot be read says nothing against it.
    """
    entries = listing.get("data") if isinstance(listing, dict) else None
    if not isinstance(entries, list):
        return True
    return any(isinstance(entry, dict) and entry.get("id") == message_id for entry in entries)
