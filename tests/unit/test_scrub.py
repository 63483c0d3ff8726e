"""No key survives, and ordinary text does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.scrub import _KEY, scrub


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("key sk-proj-Abc_123456789 used", "key sk-… used"),
        ("Incorrect API key provided: sk-ab12***********wxyz. Find", "Incorrect API key provided: sk-… Find"),
        ("app-AbCdEf0123456789AbCdEf01", "app-…"),
        ("'dataset-AbCdEf0123456789'", "'dataset-…'"),
        ("Authorization: Bearer abc.DEF-123_456=", "Authorization: Bearer …"),
        ('{"Authorization": "bearer abcdef123456"}', '{"Authorization": "bearer …"}'),
        ("x-api-key: 0123456789abcdef", "x-api-key: …"),
        ('{"api_key":"0123456789abcdef","a":1}', '{"api_key":"…","a":1}'),
        ("https://example.com/v1?key=AIzaSyA0123456789&alt=sse", "https://example.com/v1?key=…&alt=sse"),
        ("AIzaSyA0123456789abcdefghijk failed", "AIza… failed"),
        ("redis://user:hunter22@cache:6379/0", "redis://user:…@cache:6379/0"),
        ("two: sk-abcdef123 and app-abcdef123", "two: sk-… and app-…"),
    ],
)
def test_keys_are_cut_to_their_kind(text: str, clean: str) -> None:
    assert scrub(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Authorization header must be provided and start with 'Bearer'",
        "the app is unavailable, ask-me; risk-averse sk-1",
        "http://127.0.0.1:15180/file/a.pdf at 12:30",
        "API key rejected",
        "host=dify.example status=502 waited=1.5s",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert scrub(text) == text


PIECES = ["sk-", "SK-", "ſk-", "app-", "Dataset-", "AIza", "bearer ", "Api", "_KEY", "=", ":", "://", "@", "&token="]


@given(st.lists(st.sampled_from(PIECES) | st.just("abc123xyz_") | st.text(max_size=3), max_size=8).map("".join))
def test_no_text_with_a_key_is_passed_over(text: str) -> None:
    assert scrub(text) == _KEY.sub(r"\g<prefix>…", text)
