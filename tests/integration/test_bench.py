"""The bench's rig finds right answers right and wrong ones wrong; what it measures would mean nothing otherwise."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.performance import rig_runner
from tests.performance.rig_runner import Running, direct, running, upstream, upstream_stats
from tests.performance.systems import GATEWAY, CannotRun, System, other


@pytest.fixture(scope="module")
def upstream_port() -> Iterator[int]:
    rig_runner.build()
    with upstream() as port:
        yield port


@pytest.fixture(scope="module")
def gateway(upstream_port: int) -> Iterator[Running]:
    with running(GATEWAY, upstream_port) as subject:
        yield subject


@pytest.mark.parametrize(
    "orders", [{"tokens": 30}, {"tokens": 64, "batch": 16}, {"tokens": 20, "stamped": 1}, {"whole": 1}]
)
def test_every_answer_of_the_gateway_is_right_and_costs_something(gateway: Running, orders: dict[str, int]) -> None:
    load = gateway.load({"streams": 4, "calls": 40, "limit": 30, **orders})
    assert (load.found["right"], load.found["calls"], load.errors) == (40, 40, 0)
    assert load.cpu_seconds > 0


def test_a_wrong_text_is_seen(upstream_port: int) -> None:
    system = direct(upstream_port)
    wrong = Running(replace(system.started, path="/v1/chat-messages"), None, upstream_port, system.log)
    assert direct(upstream_port).load({"streams": 2, "calls": 10, "tokens": 5, "limit": 30}).errors == 0
    assert wrong.load({"streams": 2, "calls": 10, "tokens": 5, "limit": 30}).errors == 10


def test_nothing_stays_open_at_the_upstream(gateway: Running, upstream_port: int) -> None:
    gateway.load({"streams": 4, "calls": 8, "tokens": 5, "limit": 30})
    assert upstream_stats(upstream_port)["active"] == 0


def test_any_other_gateway_can_be_measured(upstream_port: int) -> None:
    command = f"copy={sys.executable} -m tests.performance.bare_tornado {{port}} {{upstream}}"
    with running(other(command), upstream_port) as subject:
        assert subject.load({"streams": 2, "calls": 10, "tokens": 5, "limit": 30}).errors == 0


def test_a_system_that_does_not_start_is_said_to(
    upstream_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # its log stays, for whoever wonders
    broken = System("broken", "", other(f"broken={sys.executable} -c 'raise SystemExit(3)'").start)
    with pytest.raises(CannotRun, match="broken does not start"), running(broken, upstream_port):
        pass
