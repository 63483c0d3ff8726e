"""The id of a conversation as clients write it."""

from __future__ import annotations

import pytest

from gateway.errors import InvalidRequest
from gateway.exchange.belonging import conversation_id

ID = "5f2c1b1e-8d0a-4c52-9f9e-0a7f6d3b2e1d"


@pytest.mark.parametrize("written", [ID, f" {ID}\n", ID.upper()])
def test_a_uuid_is_an_id(written: str) -> None:
    assert conversation_id(written, "conversation_id") == ID


@pytest.mark.parametrize("written", [None, "", "  "])
def test_nothing_names_no_conversation(written: str | None) -> None:
    assert conversation_id(written, "conversation_id") is None


@pytest.mark.parametrize("written", ["5", "new", ID[:-1], ID + "0", ID.replace("-", ""), f"{{{ID}}}", ID[:-1] + "٣"])
def test_what_dify_would_stumble_over_is_refused_by_name(written: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        conversation_id(written, "X-Some-Header")
    assert refused.value.param == "X-Some-Header"
