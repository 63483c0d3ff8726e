"""What a scrape tells after real requests."""

from __future__ import annotations

import asyncio
import re

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.integration.conftest import Gateway, StartGateway
from tests.simulator.server import Simulator

OPENMETRICS = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}


async def samples(gateway: Gateway) -> dict[str, float]:
    """All of the gateway's own samples by name and label values; buckets left out."""
    text = (await gateway.http.get("/metrics")).text
    return {
        " ".join([sample.name.removeprefix("gateway_"), *sample.labels.values()]): sample.value
        for family in parse_text(text)
        for sample in family.samples
        if sample.name.startswith("gateway_") and not sample.name.endswith("_bucket")
    }


async def test_a_streamed_answer_leaves_its_marks(gateway: Gateway, simulator: Simulator) -> None:
    await gateway.stream("Demo Chatbot", "[[n=5 delay=0.02]]")
    told = await samples(gateway)
    host = simulator.base_url.removesuffix("/v1")
    assert told["inter_chunk_seconds_count Demo Chatbot"] >= 1
    assert told["tokens_total completion Demo Chatbot"] > 0
    for stage in ("prepare", "queue", "first_write"):
        assert told[f"own_time_seconds_count {stage}"] == 1
    assert told["own_time_seconds_count pacing"] == 0
    stages = ("connect", "first_byte", "first_event", "first_text")
    times = [told[f"upstream_time_seconds_sum {stage} {host}"] for stage in stages]
    assert times == sorted(times)
    assert times[0] > 0
    assert told[f"app_info advanced-chat Demo Chatflow {host}"] == 1
    assert told["app_described_timestamp_seconds Demo Chatbot"] > 1e9
    assert told["configuration_timestamp_seconds"] > 1e9


async def test_a_paced_answer_tells_how_long_its_end_was_held(gateway: Gateway) -> None:
    body = {"model": "Demo Chatbot", "stream": True, "messages": [{"role": "user", "content": "[[n=40 delay=0]]"}]}
    await gateway.http.post("/v1/chat/completions", json=body, headers={"X-Smooth-Streaming": "on"})
    told = await samples(gateway)
    assert told["own_time_seconds_count pacing"] == 1
    assert 0 < told["own_time_seconds_sum pacing"] < 1


async def test_models_that_clients_invent_make_no_series(gateway: Gateway) -> None:
    await gateway.chat("Nobody")
    before = set(await samples(gateway))
    for start in range(0, 300, 50):
        await asyncio.gather(*(gateway.chat(f"Invented {number}") for number in range(start, start + 50)))
    told = await samples(gateway)
    assert set(told) == before
    assert told["requests_total 404 chat.completions other"] == 301
    assert told["rejected_total model"] == 301


async def test_a_request_can_be_found_from_an_exemplar(gateway: Gateway) -> None:
    answer = await gateway.chat("Demo Chatbot")
    scrape = await gateway.http.get("/metrics", headers=OPENMETRICS)
    assert scrape.headers["content-type"].startswith("application/openmetrics-text")
    families = {family.name: family for family in parse_openmetrics(scrape.text)}
    exemplars = [sample.exemplar for sample in families["gateway_request_duration_seconds"].samples if sample.exemplar]
    assert [exemplar.labels for exemplar in exemplars] == [{"request_id": answer.headers["x-request-id"]}]
    assert "request_id" not in (await gateway.http.get("/metrics")).text


async def test_the_loop_is_looked_at_every_second(start_gateway: StartGateway, simulator: Simulator) -> None:
    gateway = await start_gateway(simulator)
    async with asyncio.timeout(10):
        while (await samples(gateway))["event_loop_lag_seconds_count"] < 1:
            await asyncio.sleep(0.1)


async def test_it_tells_that_it_drains(gateway: Gateway) -> None:
    assert (await samples(gateway))["draining"] == 0
    gateway.services.draining = True
    told = await samples(gateway)
    assert (told["draining"], told["ready"]) == (1, 0)


async def test_a_large_scrape_lets_answers_through(gateway: Gateway) -> None:
    """Between two pieces of a scrape other handlers run: else a hundred apps would hold every stream."""
    metrics = gateway.services.metrics
    for number in range(150):
        metrics.request_duration.labels("chat", f"App {number}").observe(1)
        metrics.inter_chunk.labels(f"App {number}").observe(1)
    scrape = asyncio.create_task(gateway.http.get("/metrics"))
    turns = 0
    while not scrape.done():
        await asyncio.sleep(0)
        turns += 1
        assert (await gateway.http.get("/healthz")).status_code == 200
    assert len(re.findall("^gateway_inter_chunk_seconds_bucket", scrape.result().text, re.MULTILINE)) == 150 * 15
    assert turns > 1
