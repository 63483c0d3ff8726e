"""/v1/files: straight into Dify, and used by an id that every gateway understands."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.web.base import IGNORED_HEADER
from tests.integration.conftest import Gateway, StartGateway, StartSimulator
from tests.simulator import apps
from tests.simulator.server import Simulator

MODEL = apps.VISION_CHAT.name
PNG = b"\x89PNG\r\n\x1a\n picture"


async def upload(gateway: Gateway, content: bytes = PNG, name: str = "cat.png", **fields: str) -> Any:
    files = {"file": (name, content, "image/png")}
    return await gateway.http.post("/v1/files", files=files, data={"purpose": "user_data", **fields})


async def ask(gateway: Gateway, file_id: str, headers: dict[str, str] | None = None, **more: Any) -> Any:
    content = [{"type": "text", "text": "Look. [[n=2]]"}, {"type": "file", "file": {"file_id": file_id}}]
    body = {"model": MODEL, "messages": [{"role": "user", "content": content}], **more}
    return await gateway.http.post("/v1/chat/completions", json=body, headers=headers)


@pytest.mark.parametrize("version", ["0.15.3", "1.12.1", "1.16.0"])
async def test_an_uploaded_file_is_used_by_its_id_at_any_gateway(
    start_simulator: StartSimulator, start_gateway: StartGateway, version: str
) -> None:
    simulator = await start_simulator(version)
    keys = f"{apps.VISION_CHAT.key}?mode=chat"
    first, second = [await start_gateway(simulator, DIFY_API_KEYS=keys) for _ in range(2)]
    stored = (await upload(first, user="ann")).json()
    assert (stored["object"], stored["bytes"], stored["filename"]) == ("file", len(PNG), "cat.png")
    response = await ask(second, stored["id"], user="ann")
    assert response.status_code == 200, response.text
    (seen,) = simulator.runs[-1].turn.files
    assert (seen["type"], seen["filename"]) == ("image", "cat.png")
    assert simulator.store.files[seen["upload_file_id"]].content == PNG
    assert (await second.http.get(f"/v1/files/{stored['id']}")).json() == stored


async def test_a_file_is_for_one_model_and_one_user(gateway: Gateway) -> None:
    file_id = (await upload(gateway, model=MODEL, user="ann")).json()["id"]
    for more in ({"user": "bob"}, {}, {"user": "ann", "model": apps.ANY_FILE_CHAT.name}):
        error = (await ask(gateway, file_id, **more)).json()["error"]
        assert (error["param"], error["code"]) == ("messages[0].content[1].file.file_id", "file_not_found")


async def test_a_file_is_the_persons_in_every_chat(start_gateway: StartGateway, simulator: Simulator) -> None:
    gateway = await start_gateway(simulator, CONVERSATION_MEMORY_MODE="2")
    person, chat = {"X-OpenWebUI-User-Id": "ann"}, {"X-OpenWebUI-Chat-Id": "chat-1"}
    files = {"file": ("cat.png", PNG, "image/png")}
    stored = await gateway.http.post("/v1/files", files=files, data={"model": MODEL}, headers=person)
    file_id = stored.json()["id"]
    for headers in (person, person | chat):
        response = await ask(gateway, file_id, headers=headers)
        assert response.status_code == 200, response.text
    assert len({run.turn.user for run in simulator.runs[-2:]}) == 2  # a chat is a user of its own to Dify
    assert (await ask(gateway, file_id, headers=chat)).status_code == 400


async def test_the_model_may_stand_in_the_url(gateway: Gateway) -> None:
    files = {"file": ("cat.png", PNG, "image/png")}
    response = await gateway.http.post("/v1/files", params={"model": MODEL}, files=files, data={"purpose": "vision"})
    assert (response.status_code, response.json()["dify"]) == (200, {"model": MODEL})
    assert IGNORED_HEADER not in response.headers


async def test_a_file_cannot_be_told_when_to_expire(gateway: Gateway) -> None:
    response = await upload(
        gateway, model=MODEL, **{"expires_after[anchor]": "created_at", "expires_after[seconds]": "9"}
    )
    assert response.headers[IGNORED_HEADER] == "expires_after"


async def test_a_file_that_the_app_does_not_take_is_refused_before_dify_is_asked(
    gateway: Gateway, simulator: Simulator
) -> None:
    asked = len(simulator.requests)
    large = b"x" * (10 * 1024 * 1024 + 1)
    for fields, content, name, status, param, code in (
        ({"model": "Demo Chatbot"}, PNG, "cat.png", 400, "file", "files_not_supported"),
        ({"model": MODEL}, large, "cat.png", 413, "file", "file_too_large"),
        ({"model": MODEL}, b"", "cat.png", 400, "file", "invalid_value"),
        ({"model": MODEL, "purpose": "batch"}, PNG, "cat.png", 400, "purpose", "invalid_value"),
        ({"model": "nobody"}, PNG, "cat.png", 404, "model", "model_not_found"),
        ({}, PNG, "cat.png", 400, "model", "missing_required_parameter"),
    ):
        response = await upload(gateway, content, name, **fields)
        error = response.json()["error"]
        assert (response.status_code, error["param"], error["code"]) == (status, param, code)
    assert len(simulator.requests) == asked


async def test_what_dify_says_of_the_file_is_passed_on(gateway: Gateway, simulator: Simulator) -> None:
    simulator.apps.change(apps.VISION_CHAT.key, api_enabled=False)
    response = await upload(gateway, model=MODEL)
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_key_rejected")


@pytest.mark.parametrize(
    ("content_type", "body", "param"),
    [
        ("application/json", b"{}", None),
        ("multipart/form-data; boundary=b", b"garbage", None),
        ("multipart/form-data", b"--b--", None),
        ("multipart/form-data; boundary=b", b"--b--\r\n", "file"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n\xff\r\n--b--\r\n',
            None,
        ),
        (  # without a filename
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n\xff\r\n--b--\r\n',
            "file",
        ),
    ],
)
async def test_what_is_no_form_is_refused(gateway: Gateway, content_type: str, body: bytes, param: str | None) -> None:
    response = await gateway.http.post("/v1/files", content=body, headers={"Content-Type": content_type})
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


async def test_what_cannot_be_done_is_said(gateway: Gateway) -> None:
    file_id = (await upload(gateway, model=MODEL)).json()["id"]
    expected = [
        ("GET", "/v1/files", 405, "method_not_allowed"),
        ("DELETE", f"/v1/files/{file_id}", 405, "method_not_allowed"),
        ("GET", f"/v1/files/{file_id}/content", 400, "invalid_value"),
        ("GET", "/v1/files/file-abc", 404, "file_not_found"),
        ("DELETE", "/v1/files/file-abc", 404, "file_not_found"),
        ("GET", f"/v1/files/{file_id[:-3]}", 404, "file_not_found"),
    ]
    for method, path, status, code in expected:
        response = await gateway.http.request(method, path)
        assert (response.status_code, response.json()["error"]["code"]) == (status, code), path


async def test_a_file_over_the_body_limit_is_refused(start_gateway: StartGateway, simulator: Simulator) -> None:
    gateway = await start_gateway(simulator, MAX_BODY_BYTES="2048")
    response = await upload(gateway, b"x" * 4096, model=MODEL)
    assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")
