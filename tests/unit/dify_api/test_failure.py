"""A failure is recognised by all criteria of a row, and a number is a status only where it is said to be one."""

from __future__ import annotations

import re

import pytest

from gateway.dify_api.failure import Failure, FailureKind, one_line, status_pattern
from gateway.errors import InvalidRequest, RateLimited, RunFailed


@pytest.mark.parametrize(
    ("words", "is_status"),
    [
        ("API request failed with status code 429: too fast", True),
        ("Error code: 429", True),
        ('{"code": 429}', True),
        ("HTTP/1.1 429 Too Many Requests", True),
        ("slow down please", True),
        ("see page 429 of the manual", False),
        ("status code 4290", False),
    ],
)
def test_a_number_counts_only_where_it_is_a_status(words: str, is_status: bool) -> None:
    pattern = status_pattern("429", "slow down")
    assert bool(re.search(pattern, words, re.IGNORECASE)) == is_status


def test_a_text_from_outside_becomes_one_short_line_without_keys() -> None:
    line = one_line("first\n\tsecond sk-abcdefghijklmnop " + "x" * 900, limit=100)
    assert line.startswith("first second sk-")
    assert "abcdefghijklmnop" not in line
    assert len(line) == 100
    assert line.endswith("…")


@pytest.mark.parametrize(
    ("failure", "is_run"),
    [
        (Failure("anything", code="completion_request_error"), True),
        (Failure("Run failed: node broke", code="invalid_param"), True),
        (Failure("[openai_api_compatible] Error: no", code="invalid_param"), True),
        (Failure("a node's own words", in_stream=True), True),
        (Failure("query is required", code="invalid_param"), False),
        (Failure("Run failed:", by_dify=False), False),
    ],
)
def test_a_failed_run_is_told_from_a_refused_request(failure: Failure, is_run: bool) -> None:
    assert failure.is_run == is_run


def test_a_row_wants_all_its_criteria() -> None:
    row = FailureKind(RateLimited, "Busy.{dify}", says="busy", codes=("limit",), statuses=(400,))
    assert isinstance(row.match(Failure("very busy", code="limit", status=400)), RateLimited)
    assert row.match(Failure("very busy", code="limit", status=500)) is None
    assert row.match(Failure("very busy", code="other", status=400)) is None
    assert row.match(Failure("idle", code="limit", status=400)) is None


def test_difys_words_and_the_variable_reach_the_error() -> None:
    row = FailureKind(InvalidRequest, "Wrong input.{dify}", says=r"^(?P<variable>\w+) is", param="inputs.{variable}")
    error = row.match(Failure("name is required"))
    assert error is not None
    assert (error.message, error.param) == ("Wrong input. Dify: name is required", "inputs.name")


def test_a_wait_that_dify_names_is_kept_where_the_error_has_one() -> None:
    waits = FailureKind(RateLimited, "Busy.").match(Failure("", retry_after=17))
    fails = FailureKind(RunFailed, "Failed.").match(Failure("", retry_after=17))
    assert waits is not None
    assert fails is not None
    assert (waits.retry_after, fails.retry_after) == (17, None)
