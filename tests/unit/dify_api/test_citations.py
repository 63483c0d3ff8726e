"""What Dify's citations become; their many nulls and their places."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dify_api.citations import read_node, read_resources, together
from gateway.exchange.citation import Citation

FULL = {
    "position": 1,
    "dataset_id": "k",
    "dataset_name": "Manuals",
    "document_id": "d",
    "document_name": "pump.pdf",
    "data_source_type": "upload_file",
    "segment_id": "s",
    "retriever_from": "api",
    "score": 0.87,
    "hit_count": 3,
    "content": "Close valve B first.",
    "page": 4,
    "doc_metadata": None,
    "title": None,
    "files": None,
}
CITATION = Citation(1, "Close valve B first.", "pump.pdf", "Manuals", "d", "k", "s", 0.87, 4)


def test_all_that_is_told() -> None:
    assert read_resources([FULL]) == (CITATION,)


@pytest.mark.parametrize("resources", [None, [], {}, "x", [None, 3]])
def test_nothing_told(resources: Any) -> None:
    assert read_resources(resources) == ()


def test_nulls_are_unknown() -> None:
    assert read_resources([{"content": "text", "score": None, "position": 2}]) == (Citation(2, "text"),)
    assert read_resources([{"title": "A page", "score": 1, "page": True}]) == (Citation(0, "", "A page", score=1.0),)


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"doc_metadata": {"url": "https://example.org/a"}}, "https://example.org/a"),
        ({"doc_metadata": {"source_url": "http://example.org/a"}}, "http://example.org/a"),
        ({"doc_metadata": {"source": "https://example.org/a?b=c"}}, "https://example.org/a?b=c"),
        ({"doc_metadata": {"source": "file_upload"}}, None),
        ({"document_name": "https://example.org/page"}, "https://example.org/page"),
        ({"document_name": "https://example.org/pa..."}, None),
        ({"document_name": "see https://example.org"}, None),
        ({"doc_metadata": {"url": "javascript:alert(1)"}}, None),
        ({"doc_metadata": "https://example.org"}, None),
    ],
)
def test_where_the_document_is(fields: dict[str, Any], url: str | None) -> None:
    (citation,) = read_resources([{**FULL, **fields}])
    assert citation.url == url


def test_what_a_workflow_s_node_found() -> None:
    metadata = {name: value for name, value in FULL.items() if name not in ("content", "title")}
    result = [{"metadata": metadata, "title": "pump.pdf", "content": FULL["content"], "files": None}]
    data = {"node_type": "knowledge-retrieval", "outputs": {"result": result}}
    assert read_node(data) == (CITATION,)
    assert read_node({**data, "node_type": "llm"}) == ()
    assert read_node({**data, "outputs": None}) == ()
    assert read_node({**data, "outputs": {"result": [{"content": "x"}]}}) == (Citation(0, "x"),)


def test_what_two_nodes_found() -> None:
    one, other = Citation(1, "a", segment_id="s"), Citation(1, "b", segment_id="t")
    assert together([one, other, one, Citation(2, "c"), Citation(3, "c")]) == (
        one,
        Citation(2, "b", segment_id="t"),
        Citation(3, "c"),
    )


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*FULL, "metadata", "url"]), inner),
    max_leaves=9,
)


@given(JUNK)
def test_no_garbage_breaks_it(junk: Any) -> None:
    read_resources(junk)
    read_node({"node_type": "knowledge-retrieval", "outputs": {"result": junk}})
