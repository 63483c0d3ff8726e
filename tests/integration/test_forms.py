"""A run that waits for a person is answered in the chat, whatever the gateway remembers: nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.exchange.memory import zero_width
from tests.integration.conftest import Gateway, StartGateway, StartSimulator
from tests.simulator.server import Simulator

FORM = (
    "Send it?\n\n- `note`: text\n\n"
    "Answer with `Approve` or `Request changes`. Put fields on lines of their own, like `note: …`."
)
Chat = list[dict[str, str]]


@pytest.fixture
async def simulator(start_simulator: StartSimulator) -> Simulator:
    return await start_simulator("1.16.0")


async def say(gateway: Gateway, model: str, chat: Chat, text: str, stream: bool = False) -> tuple[str, str]:
    """One more turn, which is added to the chat; the visible text and the finish reason."""
    chat.append({"role": "user", "content": text})
    body: dict[str, Any] = {"model": model, "messages": chat, "stream": stream}
    answer = await gateway.http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    if stream:
        frames = [frame.removeprefix("data: ") for frame in answer.text.split("\n\n") if frame.startswith("data: {")]
        choices = [json.loads(frame)["choices"][0] for frame in frames]
        content, reason = "".join(choice["delta"]["content"] for choice in choices), choices[-1]["finish_reason"]
    else:
        choice = answer.json()["choices"][0]
        content, reason = choice["message"]["content"], choice["finish_reason"]
    chat.append({"role": "assistant", "content": content})
    return zero_width.strip(content).strip(), reason


@pytest.mark.parametrize("memory", ["0", "1", "2"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["Demo Chatflow", "Demo Workflow"])
async def test_a_form_is_shown_and_answered(
    start_gateway: StartGateway, simulator: Simulator, model: str, stream: bool, memory: str
) -> None:
    gateway = await start_gateway(simulator, CONVERSATION_MEMORY_MODE=memory)
    other = await start_gateway(simulator, CONVERSATION_MEMORY_MODE=memory)  # another node
    chat: Chat = []
    asked, reason = await say(gateway, model, chat, "Draft it. [[n=2 paused]]", stream)
    assert (asked, reason) == ("w1 w2 \n\n" + FORM, "stop")
    assert simulator.runs[-1].form_open
    answered, reason = await say(other, model, chat, "Approve\nnote: fine", stream)
    assert reason == "stop"
    assert answered.endswith("approved: fine")
    assert simulator.runs[-1].form_reply == {
        "inputs": {"note": "fine"},
        "action": "approve",
        "user": simulator.runs[-1].user,
    }
    assert len(simulator.runs) == 1
    assert not [request for request in simulator.requests if request.path.endswith("/stop")]


async def test_an_unclear_answer_is_asked_for_again(gateway: Gateway, simulator: Simulator) -> None:
    chat: Chat = []
    await say(gateway, "Demo Chatflow", chat, "[[n=1 paused]]")
    again, _ = await say(gateway, "Demo Chatflow", chat, "no, never")
    assert again == "Please answer with `Approve` or `Request changes`.\n\n" + FORM
    assert simulator.runs[-1].form_open
    answered, _ = await say(gateway, "Demo Chatflow", chat, "request changes: say please")
    assert answered.endswith("rejectd: say please")


async def test_a_form_that_is_over_ends_and_the_chat_goes_on(gateway: Gateway, simulator: Simulator) -> None:
    chat: Chat = []
    await say(gateway, "Demo Chatflow", chat, "[[n=1 paused]]")
    simulator.runs[-1].answer_form({"action": "approve", "inputs": {}})
    over, _ = await say(gateway, "Demo Chatflow", chat, "Approve")
    assert over == "This form was answered before, or its time is over."
    assert (await say(gateway, "Demo Chatflow", chat, "[[n=2]]"))[0] == "w1 w2"
    assert len(simulator.runs) == 2


async def test_another_user_cannot_answer(gateway: Gateway, simulator: Simulator) -> None:
    chat: Chat = []
    await say(gateway, "Demo Chatflow", chat, "[[n=1 paused]]")
    body = {
        "model": "Demo Chatflow",
        "messages": [*chat, {"role": "user", "content": "Approve [[n=1]]"}],
        "user": "eve",
    }
    assert (await gateway.http.post("/v1/chat/completions", json=body)).status_code == 200
    assert simulator.runs[0].form_open
    assert len(simulator.runs) == 2


async def test_a_form_that_went_out_by_mail_is_an_error(gateway: Gateway) -> None:
    answer = await gateway.chat("Demo Workflow", "[[n=1 paused=email]]")
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "human_input_required"
    assert "'Approval'" in answer.json()["error"]["message"]


@pytest.mark.parametrize(("stream", "choice"), [(False, "auto"), (True, "auto"), (True, "required")])
async def test_a_client_with_a_tool_for_forms_is_asked_by_a_call(
    gateway: Gateway, simulator: Simulator, stream: bool, choice: str
) -> None:
    tool = {"type": "function", "function": {"name": "submit_form", "parameters": {"type": "object"}}}
    chat: list[dict[str, Any]] = [{"role": "user", "content": "Draft it. [[n=2 paused]]"}]
    body: dict[str, Any] = {
        "model": "Demo Workflow",
        "messages": chat,
        "tools": [tool],
        "tool_choice": choice,
        "stream": stream,
    }
    answer = await gateway.http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    if stream:
        frames = [frame.removeprefix("data: ") for frame in answer.text.split("\n\n") if frame.startswith("data: {")]
        choices = [json.loads(frame)["choices"][0] for frame in frames]
        (call,) = [call for one in choices for call in one["delta"].get("tool_calls", [])]
        reason = choices[-1]["finish_reason"]
    else:
        first = answer.json()["choices"][0]
        (call,), reason = first["message"]["tool_calls"], first["finish_reason"]
    assert (reason, call["function"]["name"]) == ("tool_calls", "submit_form")
    asked = json.loads(call["function"]["arguments"])
    assert [action["id"] for action in asked["actions"]] == ["approve", "reject"]
    call.pop("index", None)
    chat.append({"role": "assistant", "content": None, "tool_calls": [call]})
    reply = {"action": asked["actions"][0]["id"], "inputs": {"note": "fine"}}
    chat.append({"role": "tool", "tool_call_id": call["id"], "content": json.dumps(reply)})
    answer = await gateway.http.post("/v1/chat/completions", json={**body, "tool_choice": "auto", "stream": False})
    assert answer.json()["choices"][0]["message"]["content"].endswith("approved: fine")
    assert len(simulator.runs) == 1


async def test_a_client_that_wants_json_gets_an_error_and_no_form(gateway: Gateway, simulator: Simulator) -> None:
    answer = await gateway.chat("Demo Workflow", "[[n=1 paused]]", response_format={"type": "json_object"})
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "human_input_required"
    assert len(simulator.runs) == 1  # and the app is not asked again


async def test_the_chat_goes_on_in_its_conversation_behind_a_form(
    start_gateway: StartGateway, simulator: Simulator
) -> None:
    gateway = await start_gateway(simulator, CONVERSATION_MEMORY_MODE="2")
    chat: Chat = []
    await say(gateway, "Demo Chatflow", chat, "Draft it. [[n=2 paused]]")
    await say(gateway, "Demo Chatflow", chat, "Approve")
    assert (await say(gateway, "Demo Chatflow", chat, "And now? [[n=2]]"))[0] == "w1 w2"
    first, second = simulator.runs
    assert second.turn.conversation_id == first.turn.conversation_id
    assert second.query == "And now? [[n=2]]"
