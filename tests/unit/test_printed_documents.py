"""What is printed from code is what stands in the repository."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.observability.metrics import metrics_table
from gateway.printed_settings import env_example, settings_table

ROOT = Path(__file__).parent.parent.parent


def test_the_example_settings_are_current() -> None:
    assert (ROOT / ".env.example").read_text() == env_example(), "python -m gateway env-example > .env.example"


@pytest.mark.parametrize(("command", "table"), [("settings-table", settings_table), ("metrics-table", metrics_table)])
def test_the_readmes_tables_are_current(command: str, table: Callable[[], str]) -> None:
    readme = (ROOT / "README.md").read_text()
    start, end = f"<!-- {command} -->\n", f"<!-- end of {command} -->"
    assert start in readme
    printed = readme.split(start)[1].split(end)[0]
    assert printed == table(), f"run scripts/print-tables: it puts `python -m gateway {command}` there"
