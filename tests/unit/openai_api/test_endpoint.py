"""Every endpoint offers what `web` needs of it, under names that a metric and a log can tell apart."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from gateway.openai_api import chat
from gateway.openai_api.endpoint import Endpoint, StreamRenderer

ENDPOINTS = [chat.ENDPOINT]


def methods(protocol: Any) -> list[str]:
    return [name for name, _ in inspect.getmembers(protocol, inspect.isfunction) if not name.startswith("_")]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_an_endpoint_keeps_the_protocol(endpoint: Endpoint) -> None:
    turn = endpoint.parse_request({"model": "app", "messages": [{"role": "user", "content": "Hi"}]})
    for offered, protocol in ((endpoint, Endpoint), (endpoint.stream_renderer(turn, "id", 0), StreamRenderer)):
        for name in methods(protocol):
            assert inspect.signature(getattr(type(offered), name)).parameters.keys() == (
                inspect.signature(getattr(protocol, name)).parameters.keys()
            )


def test_names_and_id_prefixes_are_distinct_and_plain() -> None:
    for values in ([endpoint.name for endpoint in ENDPOINTS], [endpoint.id_prefix for endpoint in ENDPOINTS]):
        assert len(set(values)) == len(values)
        assert all(re.fullmatch(r"[a-z][a-z._]*[-a-z]", value) for value in values)
