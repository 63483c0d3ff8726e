"""Who may import whom: arrows point down only, and what is pure touches nothing outside itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(path.relative_to(ROOT) for path in (ROOT / "gateway").rglob("*.py"))

# From bottom to top: each package or module of `gateway`, and which others of it it may import besides itself.
CODECS = {"errors", "json_codec", "scrub", "sse"}
MAY_IMPORT: dict[str, set[str]] = {
    # pure
    "frozen": set(),
    "errors": set(),
    "json_codec": set(),
    "lot": set(),
    "scrub": set(),
    "sse": {"errors"},
    "exchange": {"errors"},
    "policy": {"errors", "exchange"},
    "openai_api": CODECS | {"exchange"},  # the two halves
    "dify_api": CODECS | {"exchange"},  # never meet
    # configuration
    "env_file": set(),
    "key_options": {"exchange"},
    "app_keys": {"dify_api", "key_options"},
    "client_keys": {"exchange", "key_options"},
    "knobs": {"app_keys", "exchange", "scrub"},
    "settings": {"client_keys", "dify_api", "exchange", "knobs"},
    "load_settings": {"app_keys", "scrub", "settings"},
    "printed_settings": {"settings"},
    "systemd": set(),
    "configuration": {"env_file", "load_settings", "settings", "systemd"},
    # edges and the line between them
    "observability": CODECS | {"exchange"},
    "upstream": CODECS | {"dify_api", "lot", "policy", "settings"},
    "apps": CODECS | {"dify_api", "exchange", "observability", "settings", "upstream"},
    "peers": {"errors", "exchange"},
    "uploads": {"dify_api", "errors", "exchange", "observability", "policy", "settings", "upstream"},
    "services": {"apps", "exchange", "observability", "peers", "policy", "settings", "uploads", "upstream"},
    "conversations": {"dify_api", "errors", "exchange", "services"},
    "dify_run": CODECS | {"dify_api", "exchange", "observability", "services", "upstream"},
    "form_replies": {"dify_api", "dify_run", "exchange", "services"},
    "question": {
        "conversations",
        "dify_api",
        "dify_run",
        "errors",
        "exchange",
        "form_replies",
        "observability",
        "services",
    },
    "relay": {"dify_api", "dify_run", "errors", "exchange", "observability", "question", "services"},
    "idempotency": {"dify_run", "errors", "exchange", "observability", "peers", "relay", "services"},
    "web": CODECS
    | {
        "client_keys",
        "dify_api",
        "dify_run",
        "exchange",
        "idempotency",
        "lot",
        "observability",
        "openai_api",
        "policy",
        "relay",
        "services",
        "settings",
    },
    # the process
    "app": {"services", "web"},
    "drain": {"errors", "services", "settings", "web"},
    "server": {"app", "drain", "load_settings", "observability", "services", "settings", "systemd", "web"},
    "cli": {
        "apps",
        "configuration",
        "load_settings",
        "observability",
        "printed_settings",
        "server",
        "services",
        "settings",
        "systemd",
    },
    "__main__": {"cli"},
}
FOR_ALL = {"frozen"}
OF_THE_ROOT = {"__version__"}

PURE = CODECS | FOR_ALL | {"exchange", "policy", "openai_api", "dify_api"}
IMPURE = {
    # what the rule is about: I/O, clocks, chance
    *("tornado", "pycurl", "asyncio", "time", "random", "os", "logging", "prometheus_client"),
    # other doors to the same
    *("importlib", "io", "pathlib", "secrets", "socket", "ssl", "subprocess", "sys", "tempfile", "threading"),
}
IMPURE_NAMES = {"open", "input", "print", "__import__", "exec", "eval"}


def violations(module: PurePosixPath, source: str) -> list[str]:
    """What the module at this path (from the repository's root) does against the rules."""
    place = module.parts[1].removesuffix(".py")
    if place == "__init__":
        place = ""
    elif place not in MAY_IMPORT:
        return [f"{place} has no row in MAY_IMPORT"]
    tree = ast.parse(source)
    found = []
    for imported in _imports(tree):
        if imported.startswith("."):
            found.append(f"imports {imported} relatively")
        elif imported.partition(".")[0] == "gateway":
            target = (imported.split(".") + [""])[1]
            if target not in MAY_IMPORT.get(place, set()) | {place} | FOR_ALL | OF_THE_ROOT:
                found.append(f"imports {imported}")
        elif place in PURE and imported.partition(".")[0] in IMPURE:
            found.append(f"is pure and imports {imported}")
    if place in PURE:
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        found += [f"is pure and uses {name}" for name in sorted(names & IMPURE_NAMES)]
    return found


def _imports(tree: ast.Module) -> Iterator[str]:
    """Every module that is imported anywhere in the source, also in functions and for type checkers."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            # `from gateway import sse` names the module behind `import`.
            yield from (f"gateway.{alias.name}" for alias in node.names) if module == "gateway" else [module]


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_imports_only_what_is_below_it(module: Path) -> None:
    assert violations(PurePosixPath(module), (ROOT / module).read_text("utf-8")) == []


def test_every_row_is_a_place() -> None:
    places = {module.parts[1].removesuffix(".py") for module in MODULES} - {"__init__"}
    assert places == set(MAY_IMPORT)


def test_the_arrows_run_in_no_circle() -> None:
    below: set[str] = set()
    for place, allowed in MAY_IMPORT.items():
        assert allowed <= below, f"{place} imports what stands above it"
        below.add(place)


@pytest.mark.parametrize(("one", "other"), [("openai_api", "dify_api"), ("web", "upstream")])
def test_two_halves_never_meet(one: str, other: str) -> None:
    assert other not in MAY_IMPORT[one]
    assert one not in MAY_IMPORT[other]


PLANTED = [
    ("gateway/exchange/turn.py", "import tornado.web", "is pure and imports tornado.web"),
    ("gateway/exchange/memory/modes.py", "from time import monotonic", "is pure and imports time"),
    ("gateway/dify_api/run.py", "def f():\n    import random", "is pure and imports random"),
    ("gateway/dify_api/run.py", "import os.path as p", "is pure and imports os.path"),
    ("gateway/openai_api/chat.py", "import re, asyncio", "is pure and imports asyncio"),
    ("gateway/sse.py", "import logging", "is pure and imports logging"),
    ("gateway/scrub.py", "from prometheus_client import Counter", "is pure and imports prometheus_client"),
    ("gateway/json_codec.py", "try:\n    import pycurl\nexcept ImportError:\n    pass", "is pure and imports pycurl"),
    ("gateway/errors.py", "text = open('x').read()", "is pure and uses open"),
    ("gateway/errors.py", "read = open", "is pure and uses open"),
    ("gateway/errors.py", "__import__('time')", "is pure and uses __import__"),
    ("gateway/openai_api/chat.py", "from gateway.dify_api.app import App", "imports gateway.dify_api.app"),
    ("gateway/dify_api/run.py", "from gateway import openai_api", "imports gateway.openai_api"),
    ("gateway/dify_api/run.py", "import gateway.openai_api.chat", "imports gateway.openai_api.chat"),
    ("gateway/web/base.py", "from gateway.upstream import transfer", "imports gateway.upstream"),
    ("gateway/upstream/transfer.py", "from gateway.web.base import ApiHandler", "imports gateway.web.base"),
    ("gateway/settings.py", "def f():\n    from gateway.services import Services", "imports gateway.services"),
    (
        "gateway/exchange/turn.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from gateway.relay import LiveAnswer",
        "imports gateway.relay",
    ),
    ("gateway/dify_run.py", "from gateway import sse, web", "imports gateway.web"),
    ("gateway/__init__.py", "from gateway.cli import main", "imports gateway.cli"),
    ("gateway/sse.py", "import gateway", "imports gateway"),
    ("gateway/web/base.py", "from .routes import routes", "imports .routes relatively"),
    ("gateway/web/base.py", "from . import routes", "imports . relatively"),
    ("gateway/billing/price.py", "import re", "billing has no row in MAY_IMPORT"),
    ("gateway/utils.py", "", "utils has no row in MAY_IMPORT"),
]
ALLOWED = [
    ("gateway/exchange/turn.py", "from gateway.errors import InvalidRequest\nfrom gateway.exchange import answer"),
    ("gateway/dify_api/run.py", "from gateway import json_codec\nimport ujson, hashlib, datetime"),
    ("gateway/web/base.py", "import time\nfrom gateway.relay import LiveAnswer\nfrom gateway.web.routes import routes"),
    ("gateway/upstream/transfer.py", "import pycurl, asyncio\nfrom gateway import __version__"),
    ("gateway/cli.py", "print(open('x'))"),
    ("gateway/exchange/turn.py", "self.open()\nrandom = 1\n'import os'"),
]


@pytest.mark.parametrize(("module", "source", "violation"), PLANTED)
def test_a_planted_violation_is_found(module: str, source: str, violation: str) -> None:
    assert violations(PurePosixPath(module), source) == [violation]


@pytest.mark.parametrize(("module", "source"), ALLOWED)
def test_what_is_allowed_is_no_violation(module: str, source: str) -> None:
    assert violations(PurePosixPath(module), source) == []
