"""Usage and citations, with each release's prices, zeros and gaps."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.simulator.apps import AGENT_MODES, FLOW_MODES
from tests.simulator.steps import Turn

CITED = "The blue whale is the largest animal on earth. <b>30 m</b> & 180 t. 鲸鱼"


@dataclass(frozen=True, slots=True)
class Tokens:
    prompt: int
    completion: int

    @property
    def total(self) -> int:
        return self.prompt + self.completion


ZERO = Tokens(0, 0)


def usage_of(
    turn: Turn, tokens: Tokens, seconds: float, counted: bool = True, timed: bool | None = None
) -> dict[str, Any]:
    """`counted` is false for Dify's own zeros, whose prices are "0.0"; the provider's zeros have unit prices.

    `timed` is false for an LLM node that said nothing.
    """
    prompt_unit, completion_unit, price_unit = turn.profile.prices if counted else ("0.0", "0.0", "0.0")
    agent_sums = turn.profile.agent_total_is_zero and turn.app.mode in AGENT_MODES and counted
    if agent_sums:  # a sum over the rounds that starts from an empty usage keeps its total, latency and unit prices
        prompt_unit, completion_unit, price_unit = "0.0", "0.0", "0.0"
    prompt_price = _price(tokens.prompt, prompt_unit, price_unit, counted)
    completion_price = _price(tokens.completion, completion_unit, price_unit, counted)
    usage = {
        "prompt_tokens": tokens.prompt,
        "prompt_unit_price": prompt_unit,
        "prompt_price_unit": price_unit,
        "prompt_price": prompt_price,
        "completion_tokens": tokens.completion,
        "completion_unit_price": completion_unit,
        "completion_price_unit": price_unit,
        "completion_price": completion_price,
        "total_tokens": 0 if agent_sums else tokens.total,
        "total_price": str(Decimal(prompt_price) + Decimal(completion_price)),
        "currency": "USD",
        "latency": seconds if counted and not agent_sums else 0.0,
    }
    if turn.profile.timed_usage:
        timed = turn.app.mode in FLOW_MODES if timed is None else timed
        usage |= {"time_to_first_token": 0.1 if timed else None, "time_to_generate": seconds if timed else None}
    return usage


def metadata_of(turn: Turn, usage: dict[str, Any] | None) -> dict[str, Any]:
    """`metadata` of message_end and of blocking replies."""
    cited = turn.script.cite is not None and turn.app.mode not in AGENT_MODES
    metadata: dict[str, Any] = {}
    if turn.profile.metadata_keys:
        metadata = {"annotation_reply": None, "retriever_resources": [_citation(turn)] if cited else []}
    elif cited:
        metadata = {"retriever_resources": [_citation(turn)]}
    if usage is not None:
        metadata["usage"] = usage
    if turn.profile.metadata_reasoning:
        metadata["reasoning"] = {}
    return metadata


def _price(tokens: int, unit_price: str, price_unit: str, counted: bool) -> str:
    if not counted:
        return "0.0"
    return str((Decimal(unit_price) * Decimal(price_unit) * tokens).quantize(Decimal("0.0000001")))


def _citation(turn: Turn) -> dict[str, Any]:
    in_flow = turn.app.mode in FLOW_MODES
    crawled = turn.script.cite == "web"
    shared: dict[str, Any] = {
        "dataset_id": "89973c20-ae90-41ad-a103-abf29eff3345",
        "dataset_name": "Animals",
        "document_id": "9381723e-c8c5-435d-a681-f03238ca7ccd",
        "document_name": "https://example.org/whales" if crawled else "whales.txt",
        "data_source_type": "website_crawl" if crawled else "upload_file",
        "segment_id": "4c085b71-c5b5-440d-83f1-1e2fa699025d",
        "retriever_from": "workflow" if in_flow else "api",
        "score": 0.5019965763963812 if in_flow or turn.profile.full_citations else 0.0,
    }
    if not in_flow and not turn.profile.full_citations:
        return shared | {"content": CITED, "position": 1}
    counts = {"hit_count": 3, "word_count": 69, "segment_position": 1, "index_node_hash": "6033da54f4e5"}
    if not in_flow:
        counts = dict.fromkeys(counts)
    citation = {"position": 1} | shared | counts | {"content": CITED, "page": None}
    if turn.profile.full_citations:
        citation |= {"doc_metadata": None, "title": None, "files": None, "summary": None}
    return citation
