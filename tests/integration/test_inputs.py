"""Input variables: from the body to Dify, checked before Dify is asked."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.conftest import Gateway, StartGateway
from tests.simulator.server import Simulator


def app_with(simulator: Simulator, variable: str) -> str:
    """The name of the simulator's app whose form has this variable."""
    return next(app.name for app in simulator.apps.values() if any(field.variable == variable for field in app.form))


@pytest.mark.parametrize("carrier", ["inputs", "metadata"])
async def test_inputs_travel_in_the_body_or_in_metadata(gateway: Gateway, simulator: Simulator, carrier: str) -> None:
    inputs: dict[str, Any] = {"name": "Ada", "tone": "kind", "age": 36}
    more = {"inputs": inputs} if carrier == "inputs" else {"metadata": {"inputs": inputs}}
    response = await gateway.chat(app_with(simulator, "age"), "[[n=1]]", **more)
    assert response.status_code == 200, response.text
    assert simulator.runs[-1].inputs == inputs


@pytest.mark.parametrize(
    ("inputs", "param"),
    [
        ({}, "inputs.name"),
        ({"name": None}, "inputs.name"),
        ({"name": 5}, "inputs.name"),
        ({"name": "much too long a name"}, "inputs.name"),
        ({"name": "Ada", "tone": "rough"}, "inputs.tone"),
        ({"name": "Ada", "age": "old"}, "inputs.age"),
        ({"name": "Ada", "shoe": 38}, "inputs.shoe"),
    ],
)
async def test_a_missing_or_wrong_variable_is_named_before_dify_is_asked(
    gateway: Gateway, simulator: Simulator, inputs: dict[str, Any], param: str
) -> None:
    asked = len(simulator.requests)
    response = await gateway.chat(app_with(simulator, "age"), "Hi", inputs=inputs)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)
    assert len(simulator.requests) == asked


async def test_defaults_are_filled_in(gateway: Gateway, simulator: Simulator) -> None:
    await gateway.chat(app_with(simulator, "age"), "[[n=1]]", inputs={"name": "Ada"})
    assert simulator.runs[-1].inputs["tone"] == "kind"


async def test_the_text_goes_to_the_variable_that_takes_it(gateway: Gateway, simulator: Simulator) -> None:
    for model, variable in (("Demo Text Generator", "query"), ("Demo Workflow", "text")):
        await gateway.chat(model, "Write. [[n=1]]")
        assert simulator.runs[-1].inputs[variable] == "Write. [[n=1]]"


async def test_the_operator_names_the_variable_and_the_output(
    start_gateway: StartGateway, simulator: Simulator
) -> None:
    workflow = next(app for app in simulator.apps.values() if app.name == "Demo Workflow")
    gateway = await start_gateway(simulator, DIFY_API_KEYS=f"{workflow.key}?query=text&output=text")
    response = await gateway.chat("Demo Workflow", "[[n=3]]")
    assert response.json()["choices"][0]["message"]["content"].split() == ["w1", "w2", "w3"]
    gateway = await start_gateway(simulator, DIFY_API_KEYS=f"{workflow.key}?output=nothing")
    response = await gateway.chat("Demo Workflow", "[[n=3]]")
    assert (response.status_code, response.json()["error"]["code"]) == (502, "run_failed")
