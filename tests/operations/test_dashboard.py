"""The Grafana dashboard: what the script writes, and nothing that Grafana or Prometheus would refuse."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.metrics import MetricWrapperBase

from gateway.observability.metrics import Metrics

ROOT = Path(__file__).parents[2]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "conf/grafana-dashboard.json").read_text("utf-8"))
PROMETHEUS_LABELS = {"instance", "job", "le"}
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum"), "info": ("_info",)}


def exported() -> dict[str, set[str]]:
    """Every series name that a gateway can have, and its labels."""
    metrics = Metrics()
    labels = {one._name: set(one._labelnames) for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)}
    families = metrics.registry.collect()
    return {
        family.name + suffix: labels.get(family.name, set()) | PROMETHEUS_LABELS
        for family in families
        for suffix in SUFFIXES[family.type]
    }


def labels_in(query: str) -> set[str]:
    """What a query sums by and selects."""
    grouped = ",".join(re.findall(r"\bby \(([^)]*)\)", query)).split(",")
    return {name.strip() for name in grouped if name} | set(re.findall(r'(\w+)(?:=~|!~|!=|=)"', query))


def queries(dashboard: dict[str, Any]) -> Iterator[str]:
    """What Prometheus is asked, with Grafana's variables filled in."""
    values = {"$__rate_interval": "5m", "$instance": ".*", "$model": ".*"}
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            query = target["expr"]
            for name, value in values.items():
                query = query.replace(name, value)
            yield query


def problems(dashboard: dict[str, Any], directory: Path) -> list[str]:
    """What is wrong with it."""
    found = []
    graphs = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    found += [f"id {number} twice" for number in set(ids) if ids.count(number) > 1]
    for panel in graphs:
        for what, value in (
            ("title", panel["title"]),
            ("description", panel["description"]),
            ("unit", panel["fieldConfig"]["defaults"]["unit"]),
            ("data source", panel["datasource"]["uid"] == "${source}"),
        ):
            if not value:
                found.append(f"{panel['title']}: no {what}")
    for one, other in combinations(dashboard["panels"], 2):
        if overlap(one["gridPos"], other["gridPos"]):
            found.append(f"{one['title']} lies on {other['title']}")
    known = exported()
    rules = ["groups:", "- name: dashboard", "  rules:"]
    for query in queries(dashboard):
        names = set(re.findall(r"\b(?:gateway|process|python)_\w+", query))
        found += [f"{name} is no metric" for name in sorted(names - set(known))]
        labels = set().union(*(known.get(name, set()) for name in names))
        found += [f"{name} is no label in {query}" for name in sorted(labels_in(query) - labels)]
        if not names or "$" in query:
            found.append(f"a query without a metric, or with an unknown variable: {query}")
        rules += ["  - record: query", f"    expr: {json.dumps(query)}"]
    (directory / "queries.yml").write_text("\n".join(rules) + "\n")
    done = subprocess.run(
        ["promtool", "check", "rules", "--lint=none", str(directory / "queries.yml")], capture_output=True, text=True
    )
    return found + ([done.stderr] if done.returncode else [])


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(one[at] < other[at] + other[size] and other[at] < one[at] + one[size] for at, size in ("xw", "yh"))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (scripts/debian-packages)")
def test_every_query_can_be_asked_and_names_a_metric_that_exists(tmp_path: Path) -> None:
    assert problems(DASHBOARD, tmp_path) == []
    assert len(list(queries(DASHBOARD))) > 20


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (scripts/debian-packages)")
@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("panels", 1, "targets", 0, "expr"), "sum(rate(gateway_request_total[5m]))", "gateway_request_total is no"),
        (("panels", 1, "targets", 0, "expr"), "sum(rate(gateway_requests_total))", "expected type range vector"),
        (("panels", 1, "targets", 0, "expr"), 'gateway_ready{a="$b"}', "unknown variable"),
        (("panels", 1, "targets", 0, "expr"), 'gateway_apps{model="x"}', "model is no label"),
        (("panels", 1, "targets", 0, "expr"), "sum by (modell) (gateway_app_up)", "modell is no label"),
        (("panels", 1, "id"), 3, "id 3 twice"),
        (("panels", 1, "fieldConfig", "defaults", "unit"), "", "no unit"),
        (("panels", 1, "description"), "", "no description"),
        (("panels", 1, "datasource", "uid"), "P1809F7CD0C75ACF3", "no data source"),
        (("panels", 1, "gridPos", "w"), 9, "Requests lies on Errors"),
    ],
)
def test_a_planted_fault_is_found(path: tuple[Any, ...], value: object, problem: str, tmp_path: Path) -> None:
    planted: Any = copy.deepcopy(DASHBOARD)
    place = planted
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert problem in "\n".join(problems(planted, tmp_path))


def test_the_file_is_what_the_script_writes() -> None:
    printed = subprocess.run(
        [sys.executable, ROOT / "scripts/make-dashboard", "--print"], capture_output=True, text=True
    )
    assert (ROOT / "conf/grafana-dashboard.json").read_text("utf-8") == printed.stdout, "run scripts/make-dashboard"
