"""Traces: handed from the client to Dify and back, and spans for a collector."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from gateway.observability.logs import FORMATTERS
from tests.integration.conftest import Gateway, StartGateway
from tests.simulator.server import RequestRecord, Simulator

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = {"traceparent": f"00-{TRACE}-{SPAN}-01"}


async def ask(gateway: Gateway, text: str = "Hello", model: str = "Demo Chatbot", **headers: str) -> dict[str, str]:
    """Ask one thing, streamed; the answer's headers."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": text}]}
    return dict((await gateway.http.post("/v1/chat/completions", json=body, headers=headers)).headers)


def question(simulator: Simulator) -> RequestRecord:
    """The last one that Dify was asked."""
    return [request for request in simulator.requests if request.path.endswith("/chat-messages")][-1]


# --- without a collector ----------------------------------------------------------------------------------------------


async def test_a_clients_trace_reaches_dify_and_comes_back(
    gateway: Gateway, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.access")
    answer = await ask(gateway, **GIVEN)
    assert answer["traceparent"] == GIVEN["traceparent"]
    told = question(simulator).headers
    assert told["x-trace-id"] == TRACE
    assert told["traceparent"] == GIVEN["traceparent"]  # no span lies between: nobody would know it
    (line,) = [json.loads(FORMATTERS["json"]().format(record)) for record in caplog.records]
    assert line["trace_id"] == TRACE
    openmetrics = {"Accept": "application/openmetrics-text;version=1.0.0"}
    assert f'trace_id="{TRACE}"' in (await gateway.http.get("/metrics", headers=openmetrics)).text


@pytest.mark.parametrize("headers", [{}, {"traceparent": f"00-{32 * '0'}-{SPAN}-01"}])
async def test_without_a_proper_trace_there_is_none(
    headers: dict[str, str], gateway: Gateway, simulator: Simulator
) -> None:
    assert "traceparent" not in await ask(gateway, **headers)
    assert not {"traceparent", "x-trace-id"} & set(question(simulator).headers)


# --- with one ---------------------------------------------------------------------------------------------------------


class Collector:
    """Takes what an OpenTelemetry collector takes."""

    def __init__(self) -> None:
        self.url = ""
        self.exports: list[ExportTraceServiceRequest] = []

    def spans(self) -> dict[str, Span]:
        """All spans by name."""
        return {
            span.name: span
            for export in self.exports
            for resource in export.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        }


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    collector = Collector()

    class Traces(RequestHandler):
        def post(self) -> None:
            collector.exports.append(ExportTraceServiceRequest.FromString(self.request.body))

    server = HTTPServer(Application([("/v1/traces", Traces)], log_function=lambda handler: None))
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    collector.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    yield collector
    server.stop()
    await server.close_all_connections()


async def exported(gateway: Gateway, collector: Collector) -> dict[str, Span]:
    tracing = gateway.services.tracing
    assert tracing is not None
    assert await asyncio.to_thread(tracing._provider.force_flush)
    return collector.spans()


def attributes(span: Span) -> dict[str, object]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "") for one in span.attributes}


async def test_a_request_is_a_span_with_the_queue_and_dify_in_it(
    start_gateway: StartGateway, simulator: Simulator, collector: Collector
) -> None:
    gateway = await start_gateway(simulator, OTLP_ENDPOINT=collector.url, VALID_API_KEYS="sk-SECRET0123?name=chat-ui")
    answer = await ask(gateway, "[[n=5]] SECRET words", Authorization="Bearer sk-SECRET0123", **GIVEN)
    spans = await exported(gateway, collector)
    assert set(spans) == {"chat.completions Demo Chatbot", "queue", "dify"}
    request, queue, dify = spans["chat.completions Demo Chatbot"], spans["queue"], spans["dify"]
    assert {span.trace_id.hex() for span in spans.values()} == {TRACE}
    assert request.parent_span_id.hex() == SPAN
    assert queue.parent_span_id == dify.parent_span_id == request.span_id
    ours = f"00-{TRACE}-{request.span_id.hex()}-01"
    assert answer["traceparent"] == question(simulator).headers["traceparent"] == ours
    times = [request.start_time_unix_nano, queue.start_time_unix_nano, queue.end_time_unix_nano]
    times += [dify.start_time_unix_nano, *(event.time_unix_nano for event in dify.events), dify.end_time_unix_nano]
    assert times == sorted(times)
    assert dify.end_time_unix_nano <= request.end_time_unix_nano
    assert [event.name for event in dify.events] == ["first byte", "run started", "first text"]
    told = attributes(request)
    assert told.pop("gateway.first_token_seconds")
    assert told.pop("gen_ai.usage.input_tokens")
    assert told.pop("gen_ai.usage.output_tokens")
    assert told.pop("gateway.memory")
    assert told == {
        "gateway.request_id": answer["x-request-id"],
        "http.route": "chat.completions",
        "http.response.status_code": 200,
        "gen_ai.request.model": "Demo Chatbot",
        "gateway.client": "chat-ui",
    }
    (resource,) = [one.resource for one in collector.exports[0].resource_spans]
    names = {one.key: one.value.string_value for one in resource.attributes}
    assert names["service.name"] == "opendify-gateway"
    assert b"SECRET" not in b"".join(export.SerializeToString() for export in collector.exports)


async def test_a_failure_is_one_in_the_trace_too(
    start_gateway: StartGateway, simulator: Simulator, collector: Collector
) -> None:
    gateway = await start_gateway(simulator, OTLP_ENDPOINT=collector.url)
    answer = await ask(gateway, "[[http=500]]")
    await ask(gateway, model="Nobody")
    await gateway.http.get("/healthz")  # nobody's work
    spans = await exported(gateway, collector)
    assert set(spans) == {"chat.completions Demo Chatbot", "queue", "dify", "chat.completions other"}
    for name in ("chat.completions Demo Chatbot", "dify", "chat.completions other"):
        assert spans[name].status.code == Status.STATUS_CODE_ERROR
    failed = spans["chat.completions Demo Chatbot"]
    assert attributes(failed)["error.type"] == failed.status.message
    assert not failed.parent_span_id  # a trace of its own
    assert failed.trace_id.hex() == answer["traceparent"].split("-")[1]
    assert attributes(spans["chat.completions other"])["error.type"] == "model_not_found"
