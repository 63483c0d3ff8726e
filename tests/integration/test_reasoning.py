"""Thoughts apart from the text, over real sockets."""

from __future__ import annotations

import json

import pytest

from tests.integration.conftest import Gateway, StartGateway, StartSimulator
from tests.simulator.server import Simulator

THOUGHTS = "hmm let me think"


async def whole(gateway: Gateway, model: str, text: str, wish: str | None = None) -> tuple[str | None, str]:
    """The thoughts and the text of one answer, which says the same when it is streamed."""
    headers = {} if wish is None else {"X-Reasoning": wish}
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    answer = await gateway.http.post("/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    message = answer.json()["choices"][0]["message"]

    streamed = await gateway.http.post("/v1/chat/completions", json={**body, "stream": True}, headers=headers)
    frames = [frame.removeprefix("data: ") for frame in streamed.text.split("\n\n") if frame.startswith("data: {")]
    deltas = [json.loads(frame)["choices"][0]["delta"] for frame in frames]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == message.get("reasoning_content", "")
    assert "".join(delta["content"] for delta in deltas) == message["content"]
    return message.get("reasoning_content"), message["content"]


@pytest.mark.parametrize(
    ("version", "model"),
    [
        ("0.15.3", "Demo Chatbot"),  # <details>
        ("1.12.1", "Demo Chatbot"),  # <think>
        ("1.12.1", "Demo Chatflow"),
        ("1.12.1", "Demo Text Generator"),
        ("1.16.0", "Demo Chatflow"),
    ],
)
@pytest.mark.parametrize("directive", ["think", "think=split"])
async def test_thoughts_have_a_field_of_their_own(
    start_simulator: StartSimulator, start_gateway: StartGateway, version: str, model: str, directive: str
) -> None:
    gateway = await start_gateway(await start_simulator(version))
    assert await whole(gateway, model, f"[[n=2 {directive}]]") == (THOUGHTS, "w1 w2 ")


async def test_reasoning_chunks_are_thoughts(start_simulator: StartSimulator, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(await start_simulator("1.16.0"))
    assert await whole(gateway, "Demo Chatflow", "[[n=2 reasoning]]") == (THOUGHTS, "w1 w2 ")
    assert await whole(gateway, "Demo Workflow", "[[n=2 reasoning]]") == (THOUGHTS, "w1 w2 ")


async def test_a_request_wins_over_the_setting(gateway: Gateway, start_gateway: StartGateway) -> None:
    assert await whole(gateway, "Demo Chatbot", "[[n=2 think]]", "drop") == (None, "w1 w2 ")
    inline = f"<think>\n{THOUGHTS}\n</think>\n\nw1 w2 "
    assert await whole(gateway, "Demo Chatbot", "[[n=2 think]]", "inline") == (None, inline)
    answer = await gateway.http.post(
        "/v1/chat/completions",
        json={"model": "Demo Chatbot", "messages": [{"role": "user", "content": "hi"}]},
        headers={"X-Reasoning": "loud"},
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "X-Reasoning"


@pytest.mark.parametrize("version", ["0.15.3", "1.12.1", "1.16.0"])
async def test_an_agent_s_tools_are_thoughts(
    start_simulator: StartSimulator, start_gateway: StartGateway, version: str
) -> None:
    gateway = await start_gateway(await start_simulator(version))
    tool_run = '→ current_time {"timezone":"UTC"}\n← 2026-11-22 06:50:17'
    assert await whole(gateway, "Demo Agent", "[[n=2 tool=pretext]]") == (
        tool_run,
        "Let me look that up.\n\nw1 w2 ",
    )
    assert (await whole(gateway, "Demo Agent", "[[n=2 tool]]", "drop"))[0] is None


async def test_a_flow_s_nodes_are_named_if_switched_on(
    start_simulator: StartSimulator, start_gateway: StartGateway
) -> None:
    gateway = await start_gateway(await start_simulator(), WORKFLOW_PROGRESS="true")
    thoughts, text = await whole(gateway, "Demo Chatflow", "[[n=2 think]]")
    assert text == "w1 w2 "
    assert thoughts == f"• START\n• LLM\n\n{THOUGHTS}\n• ANSWER"


@pytest.mark.parametrize("version", ["0.15.3", "1.12.1"])
@pytest.mark.parametrize(
    ("model", "recording"),
    [("Demo Chatbot", "think_chat"), ("Demo Chatbot", "ml_think"), ("Demo Chatflow", "think_chatflow")],
)
async def test_recorded_thoughts(gateway: Gateway, version: str, model: str, recording: str) -> None:
    assert await whole(gateway, model, f"[[replay={version}/{recording}]]") == (THOUGHTS, "w1 w2 ")


@pytest.mark.parametrize("wish", ["field", "inline", "drop"])
async def test_a_chat_with_thoughts_goes_on_in_its_conversation(
    start_gateway: StartGateway, simulator: Simulator, wish: str
) -> None:
    gateway = await start_gateway(simulator, CONVERSATION_MEMORY_MODE="2", REASONING=wish)
    chat = [{"role": "user", "content": "[[n=2 think]]"}]
    for text in ("And? [[n=3 think]]", "So? [[n=1]]"):
        answer = await gateway.http.post("/v1/chat/completions", json={"model": "Demo Chatbot", "messages": chat})
        chat.append({"role": "assistant", "content": answer.json()["choices"][0]["message"]["content"]})
        chat.append({"role": "user", "content": text})
    await gateway.http.post("/v1/chat/completions", json={"model": "Demo Chatbot", "messages": chat})
    assert len({run.turn.conversation_id for run in simulator.runs}) == 1
    assert [run.query for run in simulator.runs] == ["[[n=2 think]]", "And? [[n=3 think]]", "So? [[n=1]]"]
