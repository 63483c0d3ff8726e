"""Citations, usage and Dify's own, as a client gets them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gateway.exchange.answer import Finished, FinishReason, Started, Usage
from gateway.exchange.citation import Citation
from gateway.exchange.details import Details
from gateway.exchange.file_link import FileLink
from gateway.openai_api.extras import citation_fields, dify_field, usage_json

STARTED = Started("t", "c", "m")


def test_what_has_an_address_is_an_annotation_and_all_are_resources() -> None:
    cited = [Citation(1, "Close it.", "pump.pdf", score=0.5), Citation(2, "Whales", "A page", url="https://a.org/w")]
    assert citation_fields(cited, 42) == {
        "annotations": [
            {
                "type": "url_citation",
                "url_citation": {"start_index": 0, "end_index": 42, "title": "A page", "url": "https://a.org/w"},
            }
        ],
        "retriever_resources": [
            {"position": 1, "content": "Close it.", "document_name": "pump.pdf", "score": 0.5},
            {"position": 2, "content": "Whales", "document_name": "A page", "url": "https://a.org/w"},
        ],
    }
    assert "annotations" not in citation_fields(cited[:1], 42)
    assert citation_fields([], 42) == {}


def test_only_counts_that_dify_tells() -> None:
    assert json.loads(usage_json(Usage(1, 2, 3))) == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    assert json.loads(usage_json(Usage(1, 2, 3, cached_tokens=0, reasoning_tokens=2))) == {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "total_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }


def test_dify_s_own_only_when_asked() -> None:
    end = Finished(usage=Usage(1, 2, 3, price="0.1", currency="EUR"), workflow_run_id="r", questions=("Why?",))
    end = replace(end, files=(FileLink("https://a.org/f.png", "image", "f.png"), FileLink("https://a.org/g")))
    assert dify_field(Details.OFF, STARTED, end, streamed=True) == {}
    assert dify_field(Details.ON, STARTED, end, streamed=True) == {
        "dify": {
            "task_id": "t",
            "conversation_id": "c",
            "message_id": "m",
            "workflow_run_id": "r",
            "price": {"total": "0.1", "currency": "EUR"},
            "files": [
                {"url": "https://a.org/f.png", "type": "image", "name": "f.png"},
                {"url": "https://a.org/g"},
            ],
            "suggested_questions": ["Why?"],
        }
    }
    assert dify_field(Details.ON, Started("t", workflow_run_id="r"), Finished(), streamed=False) == {
        "dify": {"task_id": "t", "workflow_run_id": "r"}
    }
    assert dify_field(Details.ON, None, Finished(), streamed=False) == {}


@pytest.mark.parametrize(
    ("wish", "reason", "streamed", "told"),
    [
        (Details.OFF, FinishReason.CONTENT_FILTER, True, True),
        (Details.OFF, FinishReason.CONTENT_FILTER, False, False),  # a document has it as its content
        (Details.OFF, FinishReason.STOP, True, False),
        (Details.ON, FinishReason.STOP, True, True),
    ],
)
def test_a_stream_tells_what_replaces_it(wish: Details, reason: FinishReason, streamed: bool, told: bool) -> None:
    field = dify_field(wish, STARTED, Finished(reason, text="No."), streamed)
    assert ("replacement" in str(field)) is told
