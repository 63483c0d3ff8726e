"""The bench's tables say what was measured, and no more."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.performance import results
from tests.performance.results import figure_of, ratio_to_floor, table, write_section
from tests.performance.scenarios import FIGURES

ROUNDS = {
    "gateway": [{"paced 500": 60.0, "short": 0.5}, {"paced 500": 80.0, "short": 0.7}, {"paced 500": 70.0}],
    "nginx": [{"paced 500": 20.0}, {"paced 500": 40.0}, {"paced 500": 28.0}],
}


def row(text: str, words: str) -> list[str]:
    return next([cell.strip() for cell in line.split("|")[2:-1]] for line in text.splitlines() if words in line)


def test_a_figure_is_the_median_of_the_rounds_that_have_it() -> None:
    assert figure_of(ROUNDS["gateway"], "paced 500") == 70
    assert figure_of(ROUNDS["gateway"], "short") == pytest.approx(0.6)
    assert math.isnan(figure_of(ROUNDS["nginx"], "short"))
    assert figure_of([{"short": math.nan}, {"short": 3.0}], "short") == 3


def test_a_ratio_is_taken_within_each_round() -> None:
    assert ratio_to_floor(ROUNDS, "gateway", "paced 500") == 2.5  # of 3, 2 and 2.5, not 70 / 28 by chance
    assert math.isnan(ratio_to_floor(ROUNDS, "gateway", "short"))
    assert math.isnan(ratio_to_floor({"gateway": ROUNDS["gateway"]}, "gateway", "paced 500"))


def test_each_goal_has_its_verdict() -> None:
    text = table(ROUNDS)
    assert row(text, "each alone") == ["70.0 (2.5×)", "28.0", "≤ 65, ≤ 2.6× nginx", "**not met**, met"]
    assert row(text, "stream of 10") == ["0.60", "–", "≤ 0.6", "met"]


def test_a_figure_without_a_goal_has_no_verdict() -> None:
    assert row(table({"gateway": [{"paced 2000": 40.0}]}), "CPU per token at 2,000") == ["40.0", "", ""]


def test_what_was_not_measured_has_no_row() -> None:
    text = table(ROUNDS)
    assert "memory" not in text
    assert text.count("\n") == 4  # head, line, two figures, failures


def test_failures_are_added_up() -> None:
    rounds = {"gateway": [{"short": 1.0, "short errors": 2.0}, {"short": 1.0, "short errors": 1.0, "open errors": 4.0}]}
    assert row(table(rounds), "answers that failed") == ["7", "0", ""]


def test_every_figure_has_its_own_name() -> None:
    assert len({figure.name for figure in FIGURES}) == len({figure.what for figure in FIGURES}) == len(FIGURES)


def test_a_section_is_replaced_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = tmp_path / "RESULTS.md"
    document.write_text("before\n<!-- one -->\nold\n<!-- end of one -->\nbetween <!-- two -->\n<!-- end of two -->\n")
    monkeypatch.setattr(results, "RESULTS", document)
    write_section("one", "new\n")
    assert document.read_text() == (
        "before\n<!-- one -->\nnew\n<!-- end of one -->\nbetween <!-- two -->\n<!-- end of two -->\n"
    )
