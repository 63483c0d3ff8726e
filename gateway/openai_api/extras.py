"""What an answer carries besides OpenAI's own fields, and what OpenAI has a place for that few apps fill.

Citations are OpenAI's `annotations` where they have a web address: its chat completions know no other kind
(`url_citation`). All of them, with the cited text, are `retriever_resources`, which is Dify's word for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from gateway.exchange.answer import Finished, FinishReason, Started, Usage
from gateway.exchange.citation import Citation
from gateway.exchange.details import Details


def citation_fields(citations: Sequence[Citation], length: int) -> dict[str, object]:
    """A message's or a delta's fields, none where nothing is cited. Dify cites for the whole text, of this length."""
    if not citations:
        return {}
    annotations = [
        {
            "type": "url_citation",
            "url_citation": {
                "start_index": 0,
                "end_index": length,
                "title": citation.document_name or citation.url,
                "url": citation.url,
            },
        }
        for citation in citations
        if citation.url
    ]
    resources = [_known(asdict(citation)) for citation in citations]
    return {**({"annotations": annotations} if annotations else {}), "retriever_resources": resources}


def usage_json(usage: Usage) -> str:
    """OpenAI's usage, as JSON; what Dify does not count is not there."""
    cached, reasoning = usage.cached_tokens, usage.reasoning_tokens
    of_prompt = "" if cached is None else f',"prompt_tokens_details":{{"cached_tokens":{cached}}}'
    of_completion = "" if reasoning is None else f',"completion_tokens_details":{{"reasoning_tokens":{reasoning}}}'
    return (
        f'{{"prompt_tokens":{usage.prompt_tokens},"completion_tokens":{usage.completion_tokens}'
        f',"total_tokens":{usage.total_tokens}{of_prompt}{of_completion}}}'
    )


def dify_field(wish: Details, started: Started | None, end: Finished, streamed: bool) -> dict[str, object]:
    """The field `dify` of a document or of a stream's last chunk.

    A stream that moderation has taken back has one unasked: its `replacement` is what should be shown instead.
    """
    told: dict[str, object] = {}
    if wish is not Details.OFF:
        ids = asdict(started) if started else {}
        told = _known({**ids, "workflow_run_id": end.workflow_run_id or ids.get("workflow_run_id")})
        if end.usage and end.usage.price is not None:
            told["price"] = _known({"total": end.usage.price, "currency": end.usage.currency})
        if end.files:
            told["files"] = [_known(asdict(file)) for file in end.files]
        if end.questions:
            told["suggested_questions"] = list(end.questions)
    if streamed and end.text is not None and (told or end.reason is FinishReason.CONTENT_FILTER):
        told["replacement"] = end.text
    return {"dify": told} if told else {}


def _known(fields: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}
