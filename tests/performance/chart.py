"""The README's chart: what a token costs, by gateway."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

from tests.performance.machine import ROOT
from tests.performance.results import Rounds, figure_of
from tests.performance.tools import program

PICTURE = ROOT / "docs/performance.png"

_PANELS = {
    "paced 500": "CPU per token, 500 streams, µs",
    "short": "CPU per stream of 10 tokens, ms",
    "a stream": "memory per open stream, KiB",
    "added to the first token": "added to the first token, ms",
}


def draw(rounds: Rounds) -> None:
    """Write docs/performance.png. Raises CannotRun where matplotlib cannot be had."""
    figures = {
        title: {system: value for system in rounds if not math.isnan(value := figure_of(rounds[system], name))}
        for name, title in _PANELS.items()
    }
    PICTURE.parent.mkdir(exist_ok=True)
    words = [program("python"), "-m", "tests.performance.chart", str(PICTURE)]
    subprocess.run(words, input=json.dumps(figures).encode(), cwd=ROOT, check=True)


def _draw_in_its_own_environment(picture: Path, figures: dict[str, dict[str, float]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    canvas, panels = pyplot.subplots(1, len(figures), figsize=(13, 2.6), layout="constrained")
    for panel, (title, values) in zip(panels, figures.items(), strict=True):
        names = list(values)[::-1]
        colours = ["#1f77b4" if name == "gateway" else "#b0b0b0" for name in names]
        bars = panel.barh(names, [values[name] for name in names], color=colours)
        panel.bar_label(
            bars, fmt=lambda value: f"{value:,.2g}" if value < 10 else f"{value:,.0f}", padding=3, fontsize=8
        )
        panel.set_title(title, fontsize=9)
        panel.set_xlim(0, 1.25 * max(values.values()))
        panel.tick_params(labelsize=8)
        panel.set_xticks([])
        for side in ("top", "right", "bottom"):
            panel.spines[side].set_visible(False)
    canvas.savefig(picture, dpi=110)


if __name__ == "__main__":
    _draw_in_its_own_environment(Path(sys.argv[1]), json.load(sys.stdin))
