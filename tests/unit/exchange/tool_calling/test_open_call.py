"""A call on its way: what is kept back, what is shown, and what it ends with."""

from __future__ import annotations

import json

import pytest

from gateway.exchange.json_answers.json_text import LIVE_FROM
from gateway.exchange.tool_calling.open_call import OpenCall
from gateway.exchange.tool_calling.read_call import CallProblem
from tests.unit.exchange.tool_calling.corpus import CALL_OSLO, LONG, TOOLS

FILE = json.dumps({"name": "write_file", "arguments": {"content": LONG}})


def test_a_short_call_shows_nothing_until_it_is_read() -> None:
    call = OpenCall("", TOOLS, may_show=True)
    assert call.feed(CALL_OSLO) == ""
    assert call.tool is None
    assert [one.arguments for one in call.finish()] == ['{"city":"Oslo"}']


@pytest.mark.parametrize("size", [1, 7, 300])
def test_a_long_call_shows_its_arguments_and_nothing_else(size: int) -> None:
    call = OpenCall("", TOOLS, may_show=True)
    pieces = [call.feed(FILE[start : start + size]) for start in range(0, len(FILE), size)]
    assert call.tool is TOOLS[2]
    shown = "".join(pieces) + call.finish_shown()
    assert json.loads(shown) == {"content": LONG}
    assert shown == json.dumps({"content": LONG})
    assert not any(pieces[: (LIVE_FROM - 1) // size])


def test_nothing_is_shown_where_nobody_reads_along() -> None:
    call = OpenCall("", TOOLS, may_show=False)
    assert call.feed(FILE) == ""
    assert len(call.finish()) == 1


def test_what_is_shown_is_checked_at_its_end() -> None:
    call = OpenCall("", TOOLS, may_show=True)
    assert call.feed(json.dumps({"name": "weather", "arguments": {"town": LONG}}))
    with pytest.raises(CallProblem, match="do not fit its schema"):
        call.finish_shown()
    call = OpenCall("", TOOLS, may_show=True)
    assert call.feed('{"name":"write_file","arguments":{"content":' + json.dumps(LONG) + ",,}}")
    with pytest.raises(CallProblem, match="are no JSON"):
        call.finish_shown()
