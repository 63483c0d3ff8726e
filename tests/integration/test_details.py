"""Citations, ids, prices, suggested questions and moderation, over real sockets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.conftest import Gateway, StartGateway, StartSimulator
from tests.integration.raw_dify import HEAD, LAST_CHUNK, MODEL, RawDify, chunk, event, message, say
from tests.simulator.apps import DEMO_CHAT, MODERATED_CHAT
from tests.simulator.server import Simulator


async def chunks(gateway: Gateway, model: str, text: str, wish: str | None = None) -> list[dict[str, Any]]:
    headers = {} if wish is None else {"X-Dify-Details": wish}
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": text}]}
    answer = await gateway.http.post("/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return [json.loads(frame.removeprefix("data: ")) for frame in answer.text.split("\n\n") if "{" in frame]


async def document(gateway: Gateway, model: str, text: str, wish: str | None = None) -> dict[str, Any]:
    headers = {} if wish is None else {"X-Dify-Details": wish}
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    answer = await gateway.http.post("/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("model", ["Demo Chatbot", "Demo Chatflow", "Demo Text Generator"])
async def test_citations(gateway: Gateway, model: str) -> None:
    message = (await document(gateway, model, "[[n=2 cite]]"))["choices"][0]["message"]
    (resource,) = message["retriever_resources"]
    assert resource["position"] == 1
    assert resource["content"]
    deltas = [chunk["choices"][0]["delta"] for chunk in await chunks(gateway, model, "[[n=2 cite]]")]
    assert [delta["retriever_resources"] for delta in deltas if "retriever_resources" in delta] == [[resource]]
    assert "retriever_resources" not in (await document(gateway, model, "[[n=2]]"))["choices"][0]["message"]


async def test_dify_s_own_when_asked(gateway: Gateway, simulator: Simulator) -> None:
    told = (await document(gateway, "Demo Chatflow", "[[n=2]]", "on"))["dify"]
    run = simulator.runs[-1]
    assert (told["task_id"], told["workflow_run_id"]) == (run.task_id, run.workflow_run_id)
    assert set(told) == {"task_id", "workflow_run_id", "conversation_id", "message_id", "price"}
    assert told["price"]["currency"] == "USD"
    assert float(told["price"]["total"]) > 0

    streamed = await chunks(gateway, "Demo Chatbot", "[[n=2]]", "on")
    assert [index for index, chunk in enumerate(streamed) if "dify" in chunk] == [len(streamed) - 1]
    assert streamed[-1]["choices"][0]["finish_reason"] == "stop"
    assert "dify" not in await document(gateway, "Demo Chatbot", "[[n=2]]")
    metrics = (await gateway.http.get("/metrics")).text
    assert 'gateway_price_total{currency="USD",model="Demo Chatflow"}' in metrics


async def test_questions_that_could_come_next_are_asked_for_only_on_request(
    gateway: Gateway, simulator: Simulator
) -> None:
    def asked() -> int:
        return sum(request.path.endswith("/suggested") for request in simulator.requests)

    model = DEMO_CHAT.name
    simulator.apps.change(DEMO_CHAT.key, suggests_after_answer=True)
    assert "suggested_questions" not in (await document(gateway, model, "[[n=2]]", "on"))["dify"]
    assert asked() == 0
    told = (await document(gateway, model, "[[n=2]]", "suggestions"))["dify"]
    assert told["suggested_questions"]
    assert asked() == 1
    # switched off in the app: a 400 of Dify's, and no fault of the answer
    assert "suggested_questions" not in (await document(gateway, "Demo Agent", "[[n=2]]", "suggestions"))["dify"]
    assert asked() == 2


@pytest.mark.parametrize("version", ["0.15.3", "1.12.1"])
async def test_what_moderation_replaces(
    start_simulator: StartSimulator, start_gateway: StartGateway, version: str
) -> None:
    gateway = await start_gateway(await start_simulator(version))
    choice = (await document(gateway, MODERATED_CHAT.name, "[[n=12]]"))["choices"][0]
    assert choice["finish_reason"] == "content_filter"
    replacement = choice["message"]["content"]
    assert "w1 " not in replacement

    streamed = await chunks(gateway, MODERATED_CHAT.name, "[[n=12]]")
    assert "w1 w2" in "".join(chunk["choices"][0]["delta"]["content"] for chunk in streamed)
    assert streamed[-1]["choices"][0]["finish_reason"] == "content_filter"
    assert streamed[-1]["dify"] == {"replacement": replacement}


async def test_a_moderated_text_can_wait_until_it_is_settled(
    start_simulator: StartSimulator, start_gateway: StartGateway
) -> None:
    gateway = await start_gateway(await start_simulator(), MODERATION="buffer")
    streamed = await chunks(gateway, MODERATED_CHAT.name, "[[n=12]]")
    text = "".join(chunk["choices"][0]["delta"]["content"] for chunk in streamed)
    assert text == (await document(gateway, MODERATED_CHAT.name, "[[n=12]]"))["choices"][0]["message"]["content"]
    assert "w1 " not in text
    assert streamed[-1]["choices"][0]["finish_reason"] == "content_filter"
    assert "dify" not in streamed[-1]
    assert len(await chunks(gateway, MODERATED_CHAT.name, "[[n=5]]")) == 3  # role, text, end
    assert len(await chunks(gateway, "Demo Chatbot", "[[n=5 delay=0.02]]")) > 3


async def test_files_that_an_app_made(gateway: Gateway) -> None:
    answer = await document(gateway, "Demo Chatflow", "[[n=2 file]]", "on")
    (file,) = answer["dify"]["files"]
    assert file["type"] == "image"
    assert file["url"].startswith("http://")
    assert file["url"] in answer["choices"][0]["message"]["content"]


async def test_slow_suggestions_cost_no_word_of_the_answer(start_gateway: StartGateway) -> None:
    """The answer is whole in one read, but its 200 goes out before Dify has thought of what could be asked next."""
    end = event("message_end", message_id="of-the-answer")
    start = event("message", answer="", message_id="of-the-answer")
    async with RawDify(say(HEAD + chunk(start + message("Hello") + end) + LAST_CHUNK), suggest_after=0.5) as dify:
        gateway = await start_gateway(**dify.environ(COMMIT_AFTER="0.1"))
        streamed = await chunks(gateway, MODEL, "Hi", "suggestions")
    assert "".join(part["choices"][0]["delta"]["content"] for part in streamed) == "Hello"
    assert streamed[-1]["dify"]["suggested_questions"] == ["And then?"]
