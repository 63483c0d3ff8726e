"""Pictures, documents and other files, from a client's message to Dify, by the rules of both versions."""

from __future__ import annotations

import base64

import pytest

from tests.integration.chat_parts import BOTH, PDF, PNG, WEB, Json, ask, data_url, file, picture, said, start, uploads
from tests.integration.conftest import Gateway, StartGateway, StartSimulator
from tests.simulator import apps
from tests.simulator.server import Simulator

# --- every kind of file, every kind of app ----------------------------------------------------------------------------


@BOTH
async def test_a_picture_in_a_message_is_uploaded_and_answered(
    start_simulator: StartSimulator, start_gateway: StartGateway, version: str
) -> None:
    simulator, gateway = await start(version, start_simulator, start_gateway)
    for app in (apps.VISION_CHAT, apps.VISION_AGENT, apps.VISION_CHATFLOW, apps.VISION_COMPLETION):
        response = await ask(gateway, app.name, said(picture()), user="ann")
        assert response.status_code == 200, response.text
        assert "w1 w2" in response.json()["choices"][0]["message"]["content"]
        (seen,) = simulator.runs[-1].turn.files
        assert (seen["type"], seen["filename"], seen["mime_type"]) == ("image", "image.png", "image/png")
        stored = simulator.store.files[seen["upload_file_id"]]
        assert (stored.content, stored.user, stored.app_key) == (PNG, "ann", app.key)


@BOTH
async def test_documents_audio_and_video_go_by_their_types(
    start_simulator: StartSimulator, start_gateway: StartGateway, version: str
) -> None:
    simulator, gateway = await start(version, start_simulator, start_gateway)
    audio = {"type": "input_audio", "input_audio": {"data": base64.b64encode(b"RIFF").decode(), "format": "wav"}}
    parts = [
        picture(WEB),
        file("report.pdf", PDF, "application/pdf"),
        audio,
        {"type": "video_url", "video_url": {"url": data_url(b"film", "video/mp4")}},
        {"type": "input_file", "filename": "notes.md", "file_data": base64.b64encode(b"# Notes").decode()},
    ]
    response = await ask(gateway, apps.ANY_FILE_CHAT.name, said(*parts))
    assert response.status_code == 200, response.text
    seen = [(one["type"], one["transfer_method"], one["filename"]) for one in simulator.runs[-1].turn.files]
    assert seen == [
        ("image", "remote_url", "cat.png"),
        ("document", "local_file", "report.pdf"),
        ("audio", "local_file", "audio.wav"),
        ("video", "local_file", "video.mp4"),
        ("document", "local_file", "notes.md"),
    ]
    assert uploads(simulator) == 4


@BOTH
async def test_a_workflows_files_fill_its_variables(
    start_simulator: StartSimulator, start_gateway: StartGateway, version: str
) -> None:
    simulator, gateway = await start(version, start_simulator, start_gateway)
    parts = [picture(), file("report.pdf", PDF, "application/pdf"), picture(WEB), file("x.dat", b"data", "x/y")]
    response = await ask(gateway, apps.FILE_WORKFLOW.name, said(*parts))
    assert response.status_code == 200, response.text
    inputs = simulator.runs[-1].inputs
    assert inputs["doc"]["filename"] == "report.pdf"
    assert [(one["type"], one["filename"]) for one in inputs["pics"]] == [
        ("image", "image.png"),
        ("image", "cat.png"),
        ("custom", "x.dat"),
    ]
    response = await ask(gateway, apps.FILE_VARIABLE_CHATFLOW.name, said(*parts[:2]))
    assert response.status_code == 200, response.text
    run = simulator.runs[-1]
    assert (run.inputs["doc"]["filename"], [one["filename"] for one in run.turn.files]) == ("report.pdf", ["image.png"])


async def test_a_missing_required_file_is_named_before_anything_is_uploaded(
    gateway: Gateway, simulator: Simulator
) -> None:
    response = await ask(gateway, apps.FILE_WORKFLOW.name, said(picture()))
    assert (response.status_code, response.json()["error"]["param"]) == (400, "inputs.doc")
    assert uploads(simulator) == 0


async def test_a_message_of_a_picture_alone_is_asked_with_its_mention(gateway: Gateway, simulator: Simulator) -> None:
    response = await ask(gateway, apps.VISION_CHAT.name, {"role": "user", "content": [picture()]})
    assert response.status_code == 200, response.text
    assert simulator.runs[-1].turn.query == "[attached: image]"


@pytest.mark.parametrize("model", ["Demo Chatflow", "Demo Agent", "Demo Chatbot"])
async def test_a_file_that_the_app_makes_is_a_link_and_told_where_it_is_asked_for(
    gateway: Gateway, simulator: Simulator, model: str
) -> None:
    headers = {"X-Dify-Details": "on"}
    response = await gateway.http.post(
        "/v1/chat/completions",
        json={"model": model, "messages": [{"role": "user", "content": "[[file n=3]]"}]},
        headers=headers,
    )
    document = response.json()
    (told,) = document["dify"]["files"]
    assert told["url"].startswith(f"{simulator.base_url.removesuffix('/v1')}/files/tools/")
    assert document["choices"][0]["message"]["content"].count(told["url"].partition("?")[0]) == 1
    _, frames = await gateway.stream(model, "[[file n=3]]")
    assert sum(frame.count("/files/tools/") for frame in frames) == 1


# --- refusals ---------------------------------------------------------------------------------------------------------

PATH = "messages[0].content[1].image_url.url"


@pytest.mark.parametrize(
    ("model", "parts", "status", "param", "code"),
    [
        ("Demo Chatbot", [picture()], 400, PATH, "files_not_supported"),
        ("Demo Workflow", [picture(WEB)], 400, PATH, "files_not_supported"),
        (
            "Vision Chatbot",
            [file("report.pdf", PDF, "application/pdf")],
            400,
            "messages[0].content[1].file.file_data",
            "unsupported_file_type",
        ),
        ("Vision Chatbot", [picture()] * 3, 400, "messages[0].content[3].image_url.url", "too_many_files"),
        ("Vision Chatbot", [picture("data:image/png;base64,A?==")], 400, PATH, "invalid_value"),
        (
            "Vision Chatbot",
            [picture(data_url(b"x" * (10 * 1024 * 1024 + 1), "image/png"))],
            413,
            PATH,
            "file_too_large",
        ),
        ("Vision Chatbot", [picture("ftp://files.example/cat.png")], 400, PATH, "invalid_value"),
        ("Vision Chatbot", [picture("https://dead.invalid/cat.png")], 400, PATH, "file_refused"),
        (
            "Vision Chatbot",
            [{"type": "file", "file": {"file_id": "file-abc"}}],
            400,
            "messages[0].content[1].file.file_id",
            "file_not_found",
        ),
    ],
)
async def test_a_file_that_cannot_be_taken_is_refused_with_its_path(
    gateway: Gateway, model: str, parts: list[Json], status: int, param: str, code: str
) -> None:
    for stream in (False, True):
        response = await ask(gateway, model, said(*parts), stream=stream)
        error = response.json()["error"]
        assert (response.status_code, error["param"], error["code"]) == (status, param, code)


@BOTH
async def test_what_dify_refuses_at_the_upload_names_the_part(
    start_simulator: StartSimulator, start_gateway: StartGateway, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app's limits have changed since the last look at it."""
    _, gateway = await start(version, start_simulator, start_gateway)
    monkeypatch.setattr("tests.simulator.attachments._LIMITS", {"png": 0})
    response = await ask(gateway, apps.VISION_CHAT.name, said(picture()))
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (413, PATH, "file_too_large")


@BOTH
async def test_what_dify_refuses_at_the_run_names_the_part(
    start_simulator: StartSimulator, start_gateway: StartGateway, version: str
) -> None:
    simulator, gateway = await start(version, start_simulator, start_gateway)
    simulator.apps.change(apps.ANY_FILE_CHAT.key, file_types=("image", "custom"))
    parts = [picture(), file("report.pdf", PDF, "application/pdf")]
    response = await ask(gateway, apps.ANY_FILE_CHAT.name, said(*parts))
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, "messages[0].content[2].file.file_data")
