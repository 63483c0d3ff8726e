"""Every source file has its test file at the same place, or is proved over real sockets."""

from __future__ import annotations

import ast
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]

# Files whose whole point is a socket, a process or a signal → the file in tests/integration that proves them.
OVER_SOCKETS = {
    "gateway/__main__.py": "test_process.py",
    "gateway/app.py": "test_requests.py",
    "gateway/conversations.py": "test_memory_named.py",
    "gateway/apps/refresher.py": "test_apps.py",
    "gateway/idempotency/desk.py": "test_idempotency.py",
    "gateway/observability/tracing.py": "test_tracing.py",
    "gateway/peers/claiming.py": "test_peers.py",
    "gateway/peers/follower.py": "test_peers.py",
    "gateway/peers/publication.py": "test_peers.py",
    "gateway/peers/redis_link.py": "test_peers.py",
    "gateway/drain.py": "test_drain.py",
    "gateway/dify_run.py": "test_leaving_clients.py",
    "gateway/form_replies.py": "test_forms.py",
    "gateway/question.py": "test_memory.py",
    "gateway/relay.py": "test_leaving_clients.py",
    "gateway/server.py": "test_process.py",
    "gateway/uploads.py": "test_attachments.py",
    "gateway/upstream/dify_client.py": "test_failures.py",
    "gateway/upstream/streaming_client.py": "test_leaving_clients.py",
    "gateway/web/answers.py": "test_answers.py",
    "gateway/web/base.py": "test_requests.py",
    "gateway/web/body_handler.py": "test_requests.py",
    "gateway/web/client_watch.py": "test_edge_leaving.py",
    "gateway/web/dispatch.py": "test_wire_requests.py",
    "gateway/web/files.py": "test_files.py",
    "gateway/web/http_server.py": "test_connections.py",
    "gateway/web/models.py": "test_apps.py",
    "gateway/web/operations.py": "test_metrics.py",
    "gateway/web/paced_answer.py": "test_pacing.py",
    "gateway/web/routes.py": "test_requests.py",
}


def has_code(source: str) -> bool:
    """Whether there is anything to run: a file of constants and plain dataclasses has nothing."""
    return any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in ast.walk(ast.parse(source)))


def missing_test(module: PurePosixPath, source: str, tests: set[str]) -> str | None:
    """The test file that the module at this path ought to have and lacks; all paths are from the repository's root."""
    if proof := OVER_SOCKETS.get(str(module)):
        wanted = f"tests/integration/{proof}"
    elif has_code(source):
        wanted = str(PurePosixPath("tests/unit", *module.parts[1:-1], f"test_{module.name}"))
    else:
        return None
    return None if wanted in tests else wanted


MODULES = sorted(path.relative_to(ROOT) for path in (ROOT / "gateway").rglob("*.py"))
TESTS = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_has_its_test(module: Path) -> None:
    assert missing_test(PurePosixPath(module), (ROOT / module).read_text("utf-8"), TESTS) is None


def test_an_exception_is_a_file_and_has_no_unit_test() -> None:
    for module in OVER_SOCKETS:
        assert Path(module) in MODULES
        path = PurePosixPath(module)
        assert str(PurePosixPath("tests/unit", *path.parts[1:-1], f"test_{path.name}")) not in TESTS


@pytest.mark.parametrize(
    ("module", "source", "wanted"),
    [
        ("gateway/new.py", "def f(): ...", "tests/unit/test_new.py"),
        ("gateway/web/deep/new.py", "class A:\n    async def f(self): ...", "tests/unit/web/deep/test_new.py"),
        ("gateway/new.py", "import sys\n\nsys.exit()\n\n\ndef f(): ...", "tests/unit/test_new.py"),
        ("gateway/relay.py", "", "tests/integration/test_leaving_clients.py"),
        ("gateway/__init__.py", '"""Text."""\n\nVERSION = 1', None),
        ("gateway/exchange/words.py", "class Word:\n    text: str", None),
        ("gateway/sse.py", "def f(): ...", None),
    ],
)
def test_a_planted_gap_is_found(module: str, source: str, wanted: str | None) -> None:
    assert missing_test(PurePosixPath(module), source, {"tests/unit/test_sse.py"}) == wanted
