"""Files that come again: in a chat that goes on, from the same user, under the same Idempotency-Key."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.integration.chat_parts import BOTH, WEB, ask, data_url, file, picture, said, start, uploads
from tests.integration.conftest import Gateway, StartGateway, StartSimulator
from tests.integration.edge_tools import metric
from tests.simulator import apps
from tests.simulator.server import Simulator


@BOTH
async def test_a_chat_that_goes_on_sends_only_what_is_new(
    start_simulator: StartSimulator, start_gateway: StartGateway, version: str
) -> None:
    environ = {"CONVERSATION_MEMORY_MODE": "2"}
    simulator, gateway = await start(version, start_simulator, start_gateway, **environ)
    chat = [said(picture())]
    answer = (await ask(gateway, apps.VISION_CHAT.name, *chat)).json()["choices"][0]["message"]
    chat += [answer, said(picture(WEB), text="And this? [[n=1]]")]
    response = await ask(gateway, apps.VISION_CHAT.name, *chat)
    assert response.status_code == 200, response.text
    first, second = simulator.runs[-2:]
    assert first.turn.conversation_id == second.turn.conversation_id
    assert [one["transfer_method"] for one in second.turn.files] == ["remote_url"]
    assert uploads(simulator) == 1


async def test_a_history_that_is_folded_brings_its_newest_files_again(
    start_gateway: StartGateway, simulator: Simulator
) -> None:
    gateway = await start_gateway(simulator, CONVERSATION_MEMORY_MODE="1")
    chat = [
        said(picture(WEB), text="One."),
        {"role": "assistant", "content": "1"},
        said(picture(), text="Two."),
        {"role": "assistant", "content": "2"},
        said(picture(), text="Three. [[n=1]]"),
    ]
    response = await ask(gateway, apps.VISION_CHAT.name, *chat)
    assert response.status_code == 200, response.text
    run = simulator.runs[-1]
    assert [one["transfer_method"] for one in run.turn.files] == ["local_file", "local_file"]
    assert "One.\n[attached: image]" in run.turn.query
    assert uploads(simulator) == 1  # the same picture


@BOTH
async def test_the_same_file_is_uploaded_once_per_user(
    start_simulator: StartSimulator, start_gateway: StartGateway, version: str
) -> None:
    simulator, gateway = await start(version, start_simulator, start_gateway)
    for user in ("ann", "ann", "bob"):
        assert (await ask(gateway, apps.VISION_CHAT.name, said(picture(), picture()), user=user)).status_code == 200
    assert uploads(simulator) == 2
    host = simulator.base_url.removesuffix("/v1")
    series = f'gateway_upstream_time_seconds_count{{stage="upload",upstream="{host}"}}'
    assert await metric(gateway.http, series) == 3
    assert await metric(gateway.http, 'gateway_uploads_total{outcome="ok"}') == 2
    assert len({one["upload_file_id"] for one in simulator.runs[-1].turn.files}) == 1
    simulator.store.files.clear()  # Dify has lost them
    assert (await ask(gateway, apps.VISION_CHAT.name, said(picture()), user="ann")).status_code == 400
    assert (await ask(gateway, apps.VISION_CHAT.name, said(picture()), user="ann")).status_code == 200


async def test_several_files_are_uploaded_at_the_same_time_but_not_any_number(
    start_gateway: StartGateway, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.apps.change(apps.ANY_FILE_CHAT.key, file_limit=20)
    gateway = await start_gateway(simulator)
    open_uploads, most = 0, 0
    bring = gateway.services.uploads.upload

    async def counted(*args: Any) -> str:
        nonlocal open_uploads, most
        open_uploads += 1
        most = max(most, open_uploads)
        await asyncio.sleep(0)
        try:
            return await bring(*args)
        finally:
            open_uploads -= 1

    monkeypatch.setattr(gateway.services.uploads, "upload", counted)
    parts = [file(f"{number}.txt", str(number).encode(), "text/plain") for number in range(10)]
    assert (await ask(gateway, apps.ANY_FILE_CHAT.name, said(*parts))).status_code == 200
    assert (most, uploads(simulator)) == (6, 10)


async def test_an_idempotency_key_tells_files_apart(gateway: Gateway) -> None:
    headers = {"Idempotency-Key": "k1"}
    body = {"model": apps.VISION_CHAT.name, "messages": [said(picture())]}
    first = await gateway.http.post("/v1/chat/completions", json=body, headers=headers)
    again = await gateway.http.post("/v1/chat/completions", json=body, headers=headers)
    assert first.json()["id"] == again.json()["id"]
    body["messages"] = [said(picture(data_url(b"other", "image/png")))]
    other = await gateway.http.post("/v1/chat/completions", json=body, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")


async def test_a_large_picture_is_not_kept_while_its_answer_is_read(gateway: Gateway) -> None:
    seen: list[int] = []
    bring = gateway.services.uploads.bring

    async def watched(app: Any, user: str, plan: Any) -> Any:
        seen.extend(map(id, plan.files))
        kept.append(plan.files[0].attachment.content)
        return await bring(app, user, plan)

    kept: list[Any] = []
    gateway.services.uploads.bring = watched  # type: ignore[method-assign]
    assert (await ask(gateway, apps.VISION_CHAT.name, said(picture()))).status_code == 200
    assert b"".join(kept[0].decode()) == b""
