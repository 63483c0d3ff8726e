"""Measures the gateway against the floor under it and against its peers, in turn, and writes the table.

scripts/bench                       the gateway and nginx, three rounds (about 5 minutes); writes RESULTS.md
scripts/bench --quick               one round, under two minutes; writes nothing
scripts/bench --peers               bare Tornado, Portkey and LiteLLM, too (installed when needed); draws the chart
scripts/bench --compare 'NAME=CMD'  any other gateway, with {port} and {upstream} in its command line
scripts/bench --profile             a flame graph of the gateway under load, in .bench/
scripts/bench --scale               100 to 10,000 streams, a storm, and where it breaks
scripts/bench --instructions        what callgrind counts, which no other program disturbs (needs valgrind)
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.performance import chart, flame, instructions, scale
from tests.performance.machine import commit, describe
from tests.performance.results import Rounds, explanations, table, write_section
from tests.performance.rig_runner import build, running, upstream
from tests.performance.scenarios import SCENARIOS, Figures, Scenario
from tests.performance.systems import FLOOR, GATEWAY, PEERS, CannotRun, System, other


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--compare", action="append", default=[], metavar="NAME=CMD")
    parser.add_argument("--only", action="append", default=[], metavar="SCENARIO", help="a part; writes nothing")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--scale", action="store_true")
    parser.add_argument("--instructions", action="store_true")
    asked = parser.parse_args()
    try:
        build()
        if asked.profile:
            flame.draw(asked.only[0] if asked.only else "paced 500")
        elif asked.scale:
            scale.measure()
        elif asked.instructions:
            instructions.measure()
        else:
            _compare(asked)
    except CannotRun as reason:
        print(f"scripts/bench: {reason}", file=sys.stderr)
        return 1
    return 0


def _compare(asked: argparse.Namespace) -> None:
    systems = [GATEWAY, FLOOR, *(PEERS if asked.peers else []), *map(other, asked.compare)]
    scenarios = [one for one in SCENARIOS if (one.name in asked.only if asked.only else one.quick or not asked.quick)]
    began = time.time()
    rounds: Rounds = {system.name: [] for system in systems}
    for number in range(1 if asked.quick else asked.rounds):
        for system in systems:
            print(f"round {number + 1}: {system.name} …", file=sys.stderr, flush=True)
            rounds[system.name].append(_round(system, scenarios))
    text = table(rounds)
    print(text)
    if asked.quick or asked.only:
        return
    when = f"{time.strftime('%F %H:%M', time.gmtime(began))} UTC, commit {commit()}"
    how = f"{asked.rounds} rounds in turn, medians; each system on one processor, the rig on another"
    write_section("results", f"{when}, on {describe()}; {how}.\n\n{text}\n\n{explanations()}")
    if asked.peers:
        chart.draw(rounds)


def _round(system: System, scenarios: list[Scenario]) -> Figures:
    figures: Figures = {}
    mine = [one for one in scenarios if system.lean or not one.lean_only]
    for together in ([one for one in mine if not one.fresh], *([one] for one in mine if one.fresh)):
        with upstream() as upstream_port, running(system, upstream_port) as subject:
            for scenario in together:
                figures |= scenario.take(subject, upstream_port)
                time.sleep(0.3)
    return figures


if __name__ == "__main__":
    sys.exit(main())
