"""What the bench reports of a load is nothing where answers failed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.performance.rig_runner import Load, Running
from tests.performance.systems import CannotRun, Started, other


def load(right: int, calls: int = 100) -> Load:
    found = {"tokens": 1000, "right": right, "calls": calls, "transit": {"p50": 12, "p99": 40}}
    return Load(found, cpu_seconds=0.5, foreign_share=0.0)


def test_costs_are_shared_out() -> None:
    assert load(100).us_per_token == pytest.approx(500)
    assert load(100).ms_per_call == pytest.approx(5)
    assert load(100).errors == 0


@pytest.mark.parametrize("right", [0, 50, 90])
def test_failed_answers_have_no_cost(right: int) -> None:
    assert math.isnan(load(right).us_per_token)
    assert math.isnan(load(right).ms_per_call)
    assert load(right).errors == 100 - right


def test_a_time_that_was_not_seen_is_unknown() -> None:
    assert load(100).micros("transit") == 12
    assert load(100).micros("transit", "p99") == 40
    assert math.isnan(load(100).micros("first_token"))


def test_orders_become_words() -> None:
    system = Running(Started([], path="/x", header=""), None, 1234, Path("log"))
    assert system.arguments({"streams": 3})[1:] == ["port=1234", "path=/x", "streams=3"]


def test_another_gateway_is_started_by_its_command_line(tmp_path: Path) -> None:
    system = other("mine=serve --port {port} --to 'http://127.0.0.1:{upstream}/v1' --in {folder}")
    assert system.name == "mine"
    words = ["serve", "--port", "80", "--to", "http://127.0.0.1:81/v1", "--in", str(tmp_path)]
    assert system.start(80, 81, tmp_path).command == words


@pytest.mark.parametrize("text", ["", "serve", "=serve", "mine="])
def test_a_command_line_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(CannotRun, match="NAME=COMMAND"):
        other(text)
