"""openai-python 0.28, for which OpenDify's users have written their programs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.conftest import KEY, Gateway
from tests.conformance.models import ALL_MODELS, CHAT, ODD_NAMES, model
from tests.conformance.processes import ROOT, run_client

PYTHON = ROOT / ".venv-openai-0.28/bin/python"
SCRIPT = ROOT / "tests/conformance/clients/openai_028.py"
MODELS = [CHAT, *(model(*one) for one in ALL_MODELS)]

FAILURES = {
    "key": ["AuthenticationError", 401, "invalid_api_key"],
    "model": ["InvalidRequestError", 404, "model_not_found"],
    "messages": ["InvalidRequestError", 400, "empty_array"],
    "provider": ["APIError", 502, "run_failed"],
    "limit": ["RateLimitError", 429, "rate_limit_exceeded"],
}


@pytest.fixture(scope="module")
def outcome(gateway: Gateway) -> dict[str, Any]:
    """What the old client made of everything."""
    plan = json.dumps({"models": MODELS, "names": ODD_NAMES})
    return run_client(PYTHON, SCRIPT, gateway.base_url, KEY, plan)


def test_the_list_has_every_app(outcome: dict[str, Any]) -> None:
    assert {*MODELS, *ODD_NAMES} < set(outcome["listed"])


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_model_of_an_odd_name_is_found(outcome: dict[str, Any], name: str) -> None:
    assert outcome["found"][name] == name


@pytest.mark.parametrize("name", MODELS)
def test_the_documented_loop_prints_the_answer(outcome: dict[str, Any], name: str) -> None:
    assert outcome["streamed"][name].strip() == outcome["whole"][name].strip() == "w1 w2 w3 w4 w5"


def test_the_async_loop_reads_the_answer(outcome: dict[str, Any]) -> None:
    assert outcome["async"].strip() == "w1 w2 w3 w4 w5"


def test_functions_are_called_and_their_results_read(outcome: dict[str, Any]) -> None:
    for said in outcome["functions"]:
        assert said.startswith("The tools said: 12 degrees in Oslo")


def test_a_failure_on_the_way_is_raised(outcome: dict[str, Any]) -> None:
    assert outcome["broken"] == "w1 w2 w3  and then APIError"


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_raised(outcome: dict[str, Any], name: str) -> None:
    assert outcome["failures"][name] == FAILURES[name]
