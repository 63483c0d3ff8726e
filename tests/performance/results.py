"""Figures → the tables of RESULTS.md."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import median

from tests.performance.scenarios import FIGURES, SCENARIOS, Figure, Figures

RESULTS = Path(__file__).parent / "RESULTS.md"
FLOOR = "nginx"

Rounds = dict[str, list[Figures]]  # by system


def figure_of(rounds: list[Figures], name: str) -> float:
    """The median of the rounds; NaN where it was not taken."""
    taken = [figures[name] for figures in rounds if name in figures and not math.isnan(figures[name])]
    return median(taken) if taken else math.nan


def ratio_to_floor(rounds: Rounds, system: str, name: str) -> float:
    """The median of the ratios within each round: both were taken under the same circumstances."""
    pairs = zip(rounds[system], rounds.get(FLOOR, []), strict=False)
    ratios = [one[name] / floor[name] for one, floor in pairs if name in one and floor.get(name)]
    return median(ratios) if ratios else math.nan


def table(rounds: Rounds) -> str:
    """Markdown: a row per figure, a column per system."""
    lines = ["| figure | " + " | ".join(rounds) + " | goal | |", "|---|" + "---|" * (len(rounds) + 2)]
    for figure in FIGURES:
        if all(math.isnan(figure_of(taken, figure.name)) for taken in rounds.values()):
            continue
        cells = [_cell(rounds, system, figure) for system in rounds]
        lines.append(
            f"| {figure.what}, {figure.unit} | "
            + " | ".join(cells)
            + f" | {', '.join(_goals(figure))} | {_met(rounds, figure)} |"
        )
    lines.append("| answers that failed | " + " | ".join(_errors(taken) for taken in rounds.values()) + " | 0 | |")
    return "\n".join(lines)


def explanations() -> str:
    """What the scenarios are."""
    return "\n".join(f"* {scenario.name}: {scenario.what}" for scenario in SCENARIOS)


def write_section(name: str, text: str) -> None:
    """Put a text between the marks of that name in RESULTS.md."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    document = RESULTS.read_text()
    before, _, rest = document.partition(begin)
    _, _, after = rest.partition(end)
    RESULTS.write_text(f"{before}{begin}{text.rstrip()}\n{end}{after}")


def _cell(rounds: Rounds, system: str, figure: Figure) -> str:
    value = figure_of(rounds[system], figure.name)
    if math.isnan(value):
        return "–"
    ratio = ratio_to_floor(rounds, system, figure.name)
    text = f"{value:,.{figure.digits}f}"
    shown = system != FLOOR and figure.what.startswith("CPU") and not math.isnan(ratio)
    return f"{text} ({ratio:.1f}×)" if shown else text


def _goals(figure: Figure) -> list[str]:
    goals = [(figure.must_be, ""), (figure.must_be_times, f"× {FLOOR}")]
    return [f"≤ {goal:g}{of}" for goal, of in goals if goal is not None]


def _met(rounds: Rounds, figure: Figure) -> str:
    """For each goal whether the gateway reaches it."""
    measured = [(figure_of(rounds["gateway"], figure.name), figure.must_be)]
    measured += [(ratio_to_floor(rounds, "gateway", figure.name), figure.must_be_times)]
    return ", ".join(
        "met" if value <= goal else "**not met**"
        for value, goal in measured
        if goal is not None and not math.isnan(value)
    )


def _errors(taken: list[Figures]) -> str:
    return str(int(sum(value for figures in taken for name, value in figures.items() if name.endswith(" errors"))))
