"""Who reads along is told by the request."""

from __future__ import annotations

import pytest

from gateway.exchange.smoothing import Smoothing
from gateway.policy.smoothing import is_paced

BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64)", "Origin": "https://chat.example", "Sec-Fetch-Mode": "cors"}
OPEN_WEBUI = {"User-Agent": "Python/3.11 aiohttp/3.11", "X-OpenWebUI-Chat-Id": "c1"}
PROGRAMS = [
    {},
    {"User-Agent": "OpenAI/Python 3.54.0", "X-Stainless-Lang": "python"},
    {"User-Agent": "OpenAI/JS 7.57.0", "Sec-Fetch-Mode": "cors"},
    {"User-Agent": "curl/7.88"},
    {"User-Agent": "Mozilla/5.0 (compatible; crawler)"},
]


@pytest.mark.parametrize("headers", [BROWSER, OPEN_WEBUI])
def test_readers_are_paced(headers: dict[str, str]) -> None:
    assert is_paced(Smoothing.AUTO, headers)
    assert not is_paced(Smoothing.OFF, headers)


@pytest.mark.parametrize("headers", PROGRAMS)
def test_programs_are_not(headers: dict[str, str]) -> None:
    assert not is_paced(Smoothing.AUTO, headers)
    assert is_paced(Smoothing.ON, headers)
