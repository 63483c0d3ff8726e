"""A repeated request joins the running or finished answer: one run in Dify, one id, one text."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.integration.conftest import Gateway, StartGateway, StartSimulator
from tests.simulator.server import Simulator

LONG = "[[n=500 delay=0.02]]"
SHORT_GRACE = {"IDEMPOTENCY_GRACE_SECONDS": "0.4"}


def request(key: str | None, text: str, model: str = "Demo Chatbot", **more: Any) -> dict[str, Any]:
    """What httpx is to send."""
    client_key = more.pop("client_key", "sk-one")
    headers = {"Authorization": f"Bearer {client_key}", **more.pop("headers", {})}
    if key is not None:
        headers["Idempotency-Key"] = key
    return {"headers": headers, "json": {"model": model, "messages": [{"role": "user", "content": text}], **more}}


async def ask(gateway: Gateway, key: str | None, text: str = "[[n=5]]", **more: Any) -> httpx.Response:
    return await gateway.http.post("/v1/chat/completions", **request(key, text, **more))


def id_and_text(response: httpx.Response) -> tuple[str, int, str]:
    """Of a whole answer or a stream."""
    assert response.status_code == 200, response.text
    if response.headers["content-type"] == "application/json":
        body = response.json()
        return body["id"], body["created"], body["choices"][0]["message"]["content"]
    frames = [frame.removeprefix("data: ") for frame in response.text.split("\n\n") if frame.startswith("data: ")]
    assert frames[-1] == "[DONE]", frames[-1]
    chunks = [json.loads(frame) for frame in frames[:-1]]
    (answer,) = {(chunk["id"], chunk["created"]) for chunk in chunks}
    return *answer, "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])


def error_of(response: httpx.Response) -> tuple[int, str, str | None]:
    return response.status_code, response.json()["error"]["code"], response.headers.get("x-should-retry")


def counted(gateway: Gateway, outcome: str) -> float:
    return gateway.services.metrics.idempotent_requests.labels(outcome)._value.get()


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait for what another task brings about."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def streaming(gateway: Gateway, key: str | None, text: str, **more: Any) -> AsyncIterator[AsyncIterator[str]]:
    """A stream that is read piece by piece and may be left early."""
    async with gateway.http.stream("POST", "/v1/chat/completions", **request(key, text, stream=True, **more)) as answer:
        yield answer.aiter_text()


async def read_until(pieces: AsyncIterator[str], text: str) -> None:
    async for piece in pieces:
        if text in piece:
            return
    raise AssertionError(f"the stream ended before {text}")


# --- joining ----------------------------------------------------------------------------------------------------------


async def test_the_same_key_later_gets_the_same_answer(gateway: Gateway, simulator: Simulator) -> None:
    first = await ask(gateway, "k1")
    again = await ask(gateway, "k1")
    streamed = await ask(gateway, "k1", stream=True, stream_options={"include_usage": True})
    assert id_and_text(first) == id_and_text(again) == id_and_text(streamed)
    assert '"usage":{' in streamed.text
    assert len(simulator.runs) == 1
    assert (counted(gateway, "started"), counted(gateway, "joined_finished")) == (1, 2)


async def test_the_same_key_at_once_is_one_run(gateway: Gateway, simulator: Simulator) -> None:
    answers = await asyncio.gather(*(ask(gateway, "k1", "[[n=30 delay=0.01]]", stream=n % 2 == 0) for n in range(20)))
    assert len({id_and_text(answer) for answer in answers}) == 1
    assert len(simulator.runs) == 1
    assert (counted(gateway, "started"), counted(gateway, "joined_running")) == (1, 19)


async def test_who_joins_in_the_middle_gets_all_from_the_start(gateway: Gateway, simulator: Simulator) -> None:
    async with streaming(gateway, "k1", "[[n=60 delay=0.01]]") as first:
        await read_until(first, "w20")
        _, _, text = id_and_text(await ask(gateway, "k1", "[[n=60 delay=0.01]]", stream=True))
    assert text.split()[:60] == [f"w{n}" for n in range(1, 61)]
    assert len(simulator.runs) == 1


async def test_without_a_key_nothing_is_shared(gateway: Gateway, simulator: Simulator) -> None:
    first, second = await asyncio.gather(ask(gateway, None), ask(gateway, None))
    assert first.json()["id"] != second.json()["id"]
    assert len(simulator.runs) == 2


async def test_tokens_of_a_joined_answer_are_counted_once(gateway: Gateway) -> None:
    first = await ask(gateway, "k1")
    await ask(gateway, "k1")
    await ask(gateway, "k1", stream=True)
    metrics = (await gateway.http.get("/metrics")).text
    spent = first.json()["usage"]["completion_tokens"]
    assert f'gateway_tokens_total{{kind="completion",model="Demo Chatbot"}} {spent:.1f}' in metrics


# --- who may join what ------------------------------------------------------------------------------------------------


async def test_another_question_under_the_same_key_is_refused(gateway: Gateway, simulator: Simulator) -> None:
    await ask(gateway, "k1", "[[n=5]] one")
    refused = await ask(gateway, "k1", "[[n=5]] two")
    assert error_of(refused) == (422, "idempotency_key_reused", None)
    assert refused.json()["error"]["param"] == "Idempotency-Key"
    assert (await ask(gateway, "k1", "[[n=5]] one", user="somebody")).status_code == 422
    assert len(simulator.runs) == 1
    assert counted(gateway, "refused") == 2


async def test_client_keys_and_models_have_their_keys_to_themselves(gateway: Gateway, simulator: Simulator) -> None:
    answers = [
        await ask(gateway, "k1"),
        await ask(gateway, "k1", client_key="sk-two"),
        await ask(gateway, "k1", model="Demo Chatflow"),
        await ask(gateway, "k2"),
    ]
    assert len({id_and_text(answer)[0] for answer in answers}) == 4
    assert len(simulator.runs) == 4


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "caf\u00e9"])
async def test_a_bad_key_is_refused_by_name(gateway: Gateway, simulator: Simulator, key: str) -> None:
    sent = request(None, "[[n=5]]")
    sent["headers"]["Idempotency-Key"] = key.encode("latin-1")
    refused = await gateway.http.post("/v1/chat/completions", **sent)
    assert error_of(refused)[0] == 400
    assert refused.json()["error"]["param"] == "Idempotency-Key"
    assert not simulator.runs


async def test_keys_may_be_long_and_quoted(gateway: Gateway, simulator: Simulator) -> None:
    for key in ("x" * 255, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "~!#"):
        assert (await ask(gateway, key)).status_code == 200
    assert len(simulator.runs) == 3


# --- clients that leave -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_a_retry_within_the_grace_joins_the_run(gateway: Gateway, simulator: Simulator, stream: bool) -> None:
    text = "[[n=60 delay=0.02]]"
    async with streaming(gateway, "k1", text) as first:
        await read_until(first, "w5")
    await until(lambda: gateway.services.metrics.client_disconnects.labels("chat.completions")._value.get())
    _, _, said = id_and_text(await ask(gateway, "k1", text, stream=stream))
    assert said.split()[:60] == [f"w{n}" for n in range(1, 61)]
    assert [run.state for run in simulator.runs] == ["finished"]


async def test_a_retry_finds_what_ended_in_the_grace(gateway: Gateway, simulator: Simulator) -> None:
    async with streaming(gateway, "k1", "[[n=20 delay=0.02]]") as first:
        await read_until(first, "w5")
    await until(lambda: simulator.runs[0].state == "finished")
    await until(lambda: not gateway.services.answers_in_flight)
    assert id_and_text(await ask(gateway, "k1", "[[n=20 delay=0.02]]"))[2].split()[19] == "w20"
    assert (len(simulator.runs), counted(gateway, "joined_finished")) == (1, 1)


async def test_the_run_of_a_client_that_does_not_come_back_is_stopped_after_the_grace(
    start_gateway: StartGateway, simulator: Simulator
) -> None:
    gateway = await start_gateway(simulator, **SHORT_GRACE)
    async with streaming(gateway, "k1", LONG) as first:
        await read_until(first, "w3")
    await asyncio.sleep(0.2)
    assert simulator.runs[0].state == "running"
    await until(lambda: simulator.runs[0].state == "stopped")
    assert gateway.services.dify.open_streams == 0
    assert gateway.services.answers_in_flight == 0
    await ask(gateway, "k1", "[[n=5]] what was stopped is no answer, and binds nobody")
    assert len(simulator.runs) == 2


async def test_the_last_of_several_to_leave_begins_the_grace(start_gateway: StartGateway, simulator: Simulator) -> None:
    gateway = await start_gateway(simulator, **SHORT_GRACE)
    async with streaming(gateway, "k1", LONG) as first:
        await read_until(first, "w3")
        async with streaming(gateway, "k1", LONG) as second:
            await read_until(second, "w3")
        await asyncio.sleep(0.6)
        assert simulator.runs[0].state == "running"
        await read_until(first, "w4")
    await asyncio.sleep(0.2)
    async with streaming(gateway, "k1", LONG) as third:  # in the grace: a new one begins when it leaves
        await read_until(third, "w10")
    await asyncio.sleep(0.3)
    assert simulator.runs[0].state == "running"
    await until(lambda: simulator.runs[0].state == "stopped")
    assert len(simulator.runs) == 1


async def test_leaving_before_dify_answers_is_joined_too(gateway: Gateway, simulator: Simulator) -> None:
    text = "[[first=0.5 n=5]]"
    leaving = asyncio.create_task(ask(gateway, "k1", text))
    await until(lambda: simulator.runs)
    leaving.cancel()
    await asyncio.wait([leaving])
    assert id_and_text(await ask(gateway, "k1", text))[2].split()[:5] == ["w1", "w2", "w3", "w4", "w5"]
    assert len(simulator.runs) == 1


async def test_the_only_reader_sets_the_pace(start_gateway: StartGateway, simulator: Simulator) -> None:
    gateway = await start_gateway(simulator, IDEMPOTENCY_BYTES=str(1 << 30))
    text = "[[tiny=60000]]"

    async def pauses() -> bool:
        transfers = gateway.services.dify._streams.transfers
        await asyncio.sleep(0.05)
        return bool(transfers) and all(transfer.paused for transfer in transfers)

    async with streaming(gateway, "k1", text) as first:
        await anext(first)
        async with asyncio.timeout(15):
            while not (await pauses() and await pauses()):
                pass
        assert simulator.runs[0].state == "running"
        async with streaming(gateway, "k1", text) as second:  # … and who is faster runs ahead of him
            await read_until(second, "[DONE]")
    assert len(simulator.runs) == 1


# --- failures ---------------------------------------------------------------------------------------------------------


async def test_what_did_not_reach_dify_is_tried_again(gateway: Gateway, simulator: Simulator) -> None:
    text = "[[http=limit]]"  # Dify's concurrency limit: a refusal before any run
    first, second = await ask(gateway, "k1", text), await ask(gateway, "k1", text)
    assert first.status_code == second.status_code == 429
    assert first.headers.get("x-should-retry") != "false"
    asked = [record for record in simulator.requests if record.path.endswith("/chat-messages")]
    assert len(asked) == 2


@pytest.mark.parametrize("stream", [True, False])
async def test_a_failed_run_is_not_run_again(gateway: Gateway, simulator: Simulator, stream: bool) -> None:
    text = "[[fail=500]]"
    first = await ask(gateway, "k1", text, stream=stream)
    assert first.headers["x-should-retry"] == "false"
    for _ in range(3):
        assert error_of(await ask(gateway, "k1", text, stream=not stream)) == error_of(first)
    assert len(simulator.runs) == 1


async def test_a_failure_in_the_middle_is_the_same_for_all(gateway: Gateway, simulator: Simulator) -> None:
    first = await ask(gateway, "k1", "[[n=9 failafter=4 fail=500]]", stream=True)
    again = await ask(gateway, "k1", "[[n=9 failafter=4 fail=500]]", stream=True)
    assert first.text.split("data: ")[-1] == again.text.split("data: ")[-1]
    assert '"error"' in again.text
    assert len(simulator.runs) == 1


# --- windows and limits -----------------------------------------------------------------------------------------------


async def test_after_the_window_it_is_a_new_request(start_gateway: StartGateway, simulator: Simulator) -> None:
    gateway = await start_gateway(simulator, IDEMPOTENCY_SECONDS="0.3")
    first = await ask(gateway, "k1")
    assert id_and_text(await ask(gateway, "k1")) == id_and_text(first)
    await asyncio.sleep(0.4)
    assert (await ask(gateway, "k1", "[[n=5]] another question")).json()["id"] != first.json()["id"]
    assert len(simulator.runs) == 2


async def test_a_very_long_answer_is_not_kept_and_not_run_twice(
    start_gateway: StartGateway, simulator: Simulator
) -> None:
    gateway = await start_gateway(simulator, IDEMPOTENCY_BYTES=str(1 << 20))  # one answer: 64 KiB
    text = "[[n=2000 delay=0.001]]"
    async with streaming(gateway, "k1", text) as first:
        await read_until(first, "w1500")
        assert error_of(await ask(gateway, "k1", text)) == (409, "idempotency_conflict", "false")
        await read_until(first, "[DONE]")
    assert error_of(await ask(gateway, "k1", text)) == (409, "idempotency_conflict", "false")
    assert [run.state for run in simulator.runs] == ["finished"]


async def test_memory_is_bounded(start_gateway: StartGateway, simulator: Simulator) -> None:
    gateway = await start_gateway(simulator, IDEMPOTENCY_BYTES=str(1 << 20))
    for number in range(80):
        await ask(gateway, f"k{number}", "[[big=15000]]")
    assert len(simulator.runs) == 80
    await ask(gateway, "k79", "[[big=15000]]")
    assert len(simulator.runs) == 80
    await ask(gateway, "k0", "[[big=15000]]")  # the oldest had to go
    assert len(simulator.runs) == 81


# --- the SDKs' count of retries ---------------------------------------------------------------------------------------


def attempt(number: int) -> dict[str, Any]:
    return {"headers": {"x-stainless-retry-count": str(number)}}


async def test_an_sdks_retry_joins_what_still_runs(gateway: Gateway, simulator: Simulator) -> None:
    text = "[[n=30 delay=0.02]]"
    first = asyncio.create_task(ask(gateway, None, text, **attempt(0)))
    await until(lambda: simulator.runs)
    second = await ask(gateway, None, text, **attempt(1))
    assert id_and_text(await first) == id_and_text(second)
    assert id_and_text(await ask(gateway, None, text, **attempt(2))) == id_and_text(second)  # ended just now
    assert len(simulator.runs) == 1
    assert (counted(gateway, "joined_running"), counted(gateway, "joined_finished")) == (1, 1)


async def test_an_sdks_first_attempts_are_requests_of_their_own(gateway: Gateway, simulator: Simulator) -> None:
    await asyncio.gather(*(ask(gateway, None, "[[n=20 delay=0.01]]", **attempt(0)) for _ in range(3)))
    assert len(simulator.runs) == 3
    assert counted(gateway, "started") == 0


async def test_an_sdks_retry_joins_only_its_own_question(gateway: Gateway, simulator: Simulator) -> None:
    first = asyncio.create_task(ask(gateway, None, "[[n=30 delay=0.02]]", **attempt(0)))
    await until(lambda: simulator.runs)
    await ask(gateway, None, "[[n=30 delay=0.02]] more", **attempt(1))
    await ask(gateway, None, "[[n=30 delay=0.02]]", client_key="sk-two", **attempt(1))
    await first
    assert len(simulator.runs) == 3


async def test_an_sdks_stream_is_joined_until_its_first_byte(gateway: Gateway, simulator: Simulator) -> None:
    text = "[[first=0.4 n=60 delay=0.02]]"
    first = asyncio.create_task(ask(gateway, None, text, stream=True, **attempt(0)))
    await until(lambda: simulator.runs)
    second = asyncio.create_task(ask(gateway, None, text, stream=True, **attempt(1)))
    await asyncio.sleep(0.9)
    third = await ask(gateway, None, text, stream=True, **attempt(2))
    assert id_and_text(await first) == id_and_text(await second)
    assert id_and_text(third)[0] != id_and_text(await first)[0]
    assert len(simulator.runs) == 2


async def test_an_sdks_retry_is_never_refused(start_gateway: StartGateway, simulator: Simulator) -> None:
    gateway = await start_gateway(simulator, IDEMPOTENCY_BYTES=str(1 << 20))
    text = "[[n=2000 delay=0.001]]"
    first = asyncio.create_task(ask(gateway, None, text, stream=True, **attempt(0)))
    await until(lambda: simulator.runs and simulator.runs[0].tokens > 1500)
    second = await ask(gateway, None, text, stream=True, **attempt(1))  # too long to be kept, so it is asked again
    assert id_and_text(second)[0] != id_and_text(await first)[0]


async def test_the_run_of_an_sdk_that_leaves_is_stopped_at_once(gateway: Gateway, simulator: Simulator) -> None:
    async with streaming(gateway, None, LONG, **attempt(0)) as first:
        await read_until(first, "w3")
    await until(lambda: simulator.runs[0].state == "stopped", 1)
    assert gateway.services.dify.open_streams == 0


# --- the end of the process -------------------------------------------------------------------------------------------


async def test_the_end_of_the_process_waits_for_no_retry(start_gateway: StartGateway, simulator: Simulator) -> None:
    gateway = await start_gateway(simulator, IDEMPOTENCY_GRACE_SECONDS="60")
    async with streaming(gateway, "k1", LONG) as first:
        await read_until(first, "w3")
        gateway.services.draining = True
    await until(lambda: simulator.runs[0].state == "stopped", 2)


async def test_it_works_with_every_mode(start_simulator: StartSimulator, start_gateway: StartGateway) -> None:
    simulator = await start_simulator("1.16.0")
    gateway = await start_gateway(simulator)
    models = ["Demo Chatbot", "Demo Agent", "Demo Chatflow", "Demo Text Generator", "Demo Workflow"]
    for model in models:
        first = await ask(gateway, "k1", model=model)
        assert id_and_text(first) == id_and_text(await ask(gateway, "k1", model=model, stream=True)), model
    assert len(simulator.runs) == len(models)
