"""What an app asks a person in the middle of its run."""

from __future__ import annotations

from gateway.frozen import frozen


@frozen
class FormField:
    """Something to fill in."""

    name: str
    kind: str = "paragraph"  # paragraph, select, file, file-list
    default: str | None = None
    options: tuple[str, ...] = ()  # of a select


@frozen
class FormAction:
    """One of the ways to go on."""

    id: str
    title: str


@frozen
class Form:
    """What a run waits for. Whoever has its token can answer it."""

    token: str
    run_id: str
    content: str  # Markdown
    fields: tuple[FormField, ...] = ()
    actions: tuple[FormAction, ...] = ()
