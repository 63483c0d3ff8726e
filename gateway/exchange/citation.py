"""What an answer rests on."""

from __future__ import annotations

from gateway.frozen import frozen


@frozen
class Citation:
    """A piece of the app's knowledge that the model was given; what Dify did not tell is None."""

    position: int  # from 1, in the order of relevance
    content: str
    document_name: str | None = None
    dataset_name: str | None = None
    document_id: str | None = None
    dataset_id: str | None = None
    segment_id: str | None = None
    score: float | None = None
    page: int | None = None
    url: str | None = None  # where readers find the document, if it is on the web
