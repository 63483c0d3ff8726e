"""How a call is written."""

from __future__ import annotations

from gateway.exchange.tool_calling.call_syntax import CallSyntax


def test_a_call_is_json_between_tags_with_the_mark() -> None:
    assert CallSyntax("x7").write("weather", {"city": "Zürich"}) == (
        '<tool_call_x7>\n{"name":"weather","arguments":{"city":"Zürich"}}\n</tool_call_x7>'
    )
