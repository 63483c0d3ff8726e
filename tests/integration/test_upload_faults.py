"""What goes wrong while a file is on its way to Dify: no run is started, and the client is told what it was."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from tests.integration.conftest import Gateway, StartGateway
from tests.integration.edge_tools import until
from tests.integration.raw_dify import HEAD, KEY, LAST_CHUNK, MODEL, Exchange, RawDify, Script, chunk, event, say

PARAM = "messages[0].content[0].image_url.url"
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
QUESTION = {"model": MODEL, "messages": [{"role": "user", "content": [PICTURE, {"type": "text", "text": "Look."}]}]}


def answer(status: str, body: str, media_type: str = "application/json") -> Script:
    """A script that answers an upload."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return say((head + body).encode())


async def reset(exchange: Exchange) -> None:
    exchange.reset()


async def hang(exchange: Exchange) -> None:
    await exchange.gone()


def asked(dify: RawDify) -> list[str]:
    """Every call that is not a look at the app."""
    return [path for _, path in dify.calls if path.startswith("POST")]


async def start(start_gateway: StartGateway, dify: RawDify, **environ: str) -> Gateway:
    return await start_gateway(None, **dify.environ(DIFY_API_KEYS=KEY, **environ))


async def test_a_file_goes_before_its_question(start_gateway: StartGateway) -> None:
    upload_id = "0a1b2c3d-0000-4000-8000-000000000001"
    async with RawDify(upload=answer("201 CREATED", json.dumps({"id": upload_id}))) as dify:
        gateway = await start(start_gateway, dify)
        response = await gateway.http.post("/v1/chat/completions", json=QUESTION)
        assert response.json()["choices"][0]["message"]["content"].startswith("Hello world")
        assert asked(dify) == ["POST /v1/files/upload", "POST /v1/chat-messages"]
        assert dify.exchanges[0].body["files"][0]["upload_file_id"] == upload_id


async def test_a_file_that_the_run_refuses_in_its_stream_is_named_and_sent_again_next_time(
    start_gateway: StartGateway,
) -> None:
    upload = answer("201 CREATED", '{"id": "0a1b2c3d-0000-4000-8000-000000000001"}')
    refusal = event("error", code="invalid_param", status=400, message="Invalid upload file")
    async with RawDify(script=say(HEAD + chunk(refusal) + LAST_CHUNK), upload=upload) as dify:
        gateway = await start(start_gateway, dify)
        for _ in range(2):
            response = await gateway.http.post("/v1/chat/completions", json={**QUESTION, "stream": True})
            error = response.json()["error"]
            assert (response.status_code, error["code"], error["param"]) == (400, "file_refused", PARAM)
        assert asked(dify).count("POST /v1/files/upload") == 2


@pytest.mark.parametrize(
    ("script", "status", "code", "param"),
    [
        (reset, 502, "upstream_truncated", None),
        (answer("200 OK", "<html>", "text/html"), 502, "upstream_protocol_error", None),
        (answer("201 CREATED", '{"id": 5}'), 502, "upstream_protocol_error", None),
        (answer("413 Too Large", "<html>nginx</html>", "text/html"), 413, "body_too_large", PARAM),
        (
            answer("400 BAD REQUEST", '{"code": "invalid_param", "message": "Filename contains invalid characters"}'),
            400,
            "file_refused",
            PARAM,
        ),
        (
            answer("415 UNSUPPORTED", '{"code": "unsupported_file_type", "message": "x"}'),
            400,
            "unsupported_file_type",
            PARAM,
        ),
        (answer("503 Busy", "<html>", "text/html"), 503, "upstream_overloaded", None),
    ],
    ids=["reset", "html", "no id", "too large", "name", "type", "busy"],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_failed_upload_is_a_status_and_no_run(
    start_gateway: StartGateway, script: Script, status: int, code: str, param: str | None, stream: bool
) -> None:
    async with RawDify(upload=script) as dify:
        gateway = await start(start_gateway, dify)
        response = await gateway.http.post("/v1/chat/completions", json={**QUESTION, "stream": stream})
        error = response.json()["error"]
        assert (response.status_code, error["code"], error["param"]) == (status, code, param)
        assert dify.exchanges == []


async def test_an_upload_that_hangs_is_given_up(start_gateway: StartGateway) -> None:
    async with RawDify(upload=hang) as dify:
        gateway = await start(start_gateway, dify, UPLOAD_TIMEOUT="1")
        response = await gateway.http.post("/v1/chat/completions", json=QUESTION)
        assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_timeout")
        assert "x-should-retry" not in response.headers  # nothing has run
        await until(lambda: dify.open_connections <= 2)  # those of the looks at the app


async def test_no_file_is_sent_to_a_dify_that_is_not_there(start_gateway: StartGateway) -> None:
    async with RawDify(upload=hang) as dify:
        gateway = await start(start_gateway, dify)
        await dify.stop_listening()
        codes = [
            (await gateway.http.post("/v1/chat/completions", json=QUESTION)).json()["error"]["code"] for _ in range(6)
        ]
        assert (codes[0], codes[-1]) == ("upstream_refused", "upstream_circuit_open")


async def test_one_upload_that_fails_ends_the_others(start_gateway: StartGateway) -> None:
    hanging: list[Exchange] = []

    async def first_hangs(exchange: Exchange) -> None:
        if b"first" in exchange.body:
            hanging.append(exchange)
            await exchange.gone()
            hanging.remove(exchange)
        else:
            await until(lambda: hanging)
            await answer("500 ERROR", "{}")(exchange)

    parts = [
        {"type": "file", "file": {"filename": f"{name}.txt", "file_data": "data:text/plain;base64,QUJD"}}
        for name in ("first", "second")
    ]
    async with RawDify(upload=first_hangs) as dify:
        gateway = await start(start_gateway, dify)
        body = {"model": MODEL, "messages": [{"role": "user", "content": parts}]}
        response = await gateway.http.post("/v1/chat/completions", json=body)
        assert response.status_code == 502
        await until(lambda: not hanging)


async def test_a_client_that_leaves_takes_its_upload_along(start_gateway: StartGateway) -> None:
    gone = asyncio.Event()

    async def note(exchange: Exchange) -> None:
        await exchange.gone()
        gone.set()

    async with RawDify(upload=note) as dify:
        gateway = await start(start_gateway, dify)
        asking: asyncio.Task[Any] = asyncio.create_task(gateway.http.post("/v1/chat/completions", json=QUESTION))
        await until(lambda: "POST /v1/files/upload" in asked(dify))
        asking.cancel()
        async with asyncio.timeout(5):
            await gone.wait()
        await until(lambda: gateway.services.answers_in_flight == 0)
        assert asked(dify) == ["POST /v1/files/upload"]


async def test_a_client_that_leaves_v1_files_takes_its_upload_along(
    start_gateway: StartGateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    gone = asyncio.Event()

    async def note(exchange: Exchange) -> None:
        await exchange.gone()
        gone.set()

    async with RawDify(upload=note) as dify:
        gateway = await start(start_gateway, dify)
        form = {"files": {"file": ("a.png", b"ABC", "image/png")}, "data": {"model": MODEL}}
        uploading: asyncio.Task[Any] = asyncio.create_task(gateway.http.post("/v1/files", **form))
        await until(lambda: "POST /v1/files/upload" in asked(dify))
        uploading.cancel()
        async with asyncio.timeout(5):
            await gone.wait()
        await until(lambda: any("499" in str(vars(record)) for record in caplog.records if "access" in record.name))
        assert not [record for record in caplog.records if record.levelname == "ERROR"]
