"""Where Dify tells what an answer rests on → Citations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.dify_api.streamed_text import mend_surrogates
from gateway.exchange.citation import Citation

_WEB = re.compile(r"https?://[^\s<>\"]+")


def read_resources(resources: Any) -> tuple[Citation, ...]:
    """message_end's metadata.retriever_resources. 0.15 leaves them out where there are none, 1.12 says []."""
    return tuple([_read(item, item) for item in _objects(resources)]) if resources else ()


def read_node(data: Mapping[str, Any]) -> tuple[Citation, ...]:
    """What a knowledge-retrieval node gave, from its node_finished's data: all that a workflow app tells."""
    outputs = data.get("outputs")
    if data.get("node_type") != "knowledge-retrieval" or not isinstance(outputs, dict):
        return ()
    found = []
    for item in _objects(outputs.get("result")):
        metadata = item.get("metadata")
        found.append(_read(item, metadata if isinstance(metadata, dict) else {}))
    return tuple(found)


def together(citations: Sequence[Citation]) -> tuple[Citation, ...]:
    """Those of several nodes: each segment once, numbered anew."""
    once: dict[str, Citation] = {}
    for citation in citations:
        once.setdefault(citation.segment_id or citation.content, citation)
    return tuple(replace(one, position=position) for position, one in enumerate(once.values(), start=1))


def _read(item: Mapping[str, Any], metadata: Mapping[str, Any]) -> Citation:
    position, score, page = metadata.get("position"), metadata.get("score"), metadata.get("page")
    name = _text(metadata.get("document_name")) or _text(item.get("title"))
    return Citation(
        position=position if type(position) is int else 0,
        content=_text(item.get("content")) or "",
        document_name=name,
        dataset_name=_text(metadata.get("dataset_name")),
        document_id=_text(metadata.get("document_id")),
        dataset_id=_text(metadata.get("dataset_id")),
        segment_id=_text(metadata.get("segment_id")),
        score=float(score) if isinstance(score, int | float) and not isinstance(score, bool) else None,
        page=page if type(page) is int else None,
        url=_find_url(metadata, name),
    )


def _find_url(metadata: Mapping[str, Any], name: str | None) -> str | None:
    """The document's address: in what its owner noted about it, or, of a crawled website, its name."""
    noted = metadata.get("doc_metadata")
    noted = noted if isinstance(noted, dict) else {}
    for value in (noted.get("url"), noted.get("source_url"), noted.get("source"), name):
        if isinstance(value, str) and _WEB.fullmatch(value) and not value.endswith("..."):  # a long name is cut
            return mend_surrogates(value)
    return None


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return mend_surrogates(value) if isinstance(value, str) and value else None
