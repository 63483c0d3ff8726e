"""Files, by the rules of two releases: what recordings of real servers accepted and refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.simulator import apps
from tests.simulator.server import Simulator
from tests.simulator.store import UploadedFile
from tests.unit.simulator.rawclient import Ask

TRACES = Path(__file__).parents[2] / "traces"
ALL = ("image", "document", "audio", "video", "custom")
APPS = {
    "chat-vision": apps.VISION_CHAT,
    "multi-chat": apps.ANY_FILE_CHAT,
    "workflow-files": replace(
        apps.FILE_WORKFLOW, form=(apps.FormField("paragraph", "query"), apps.FormField("file", "pic"))
    ),
    "params-workflow": replace(
        apps.FILE_WORKFLOW,
        form=(
            apps.FormField("text-input", "name", required=True, max_length=48),
            apps.FormField("file", "doc", file_types=("image", "document")),
            apps.FormField("file-list", "docs", max_length=3, file_types=ALL, file_extensions=(".zip",)),
        ),
    ),
}
MEDIA_TYPES = {"png": "image/png", "txt": "text/plain", "mp4": "video/mp4", "zip": "application/zip"}

# Recording → what its uploaded files were called.
NAMES = {
    "vision_notype": "a.png",
    "vision_invalid_id": "",
    "vision_files_str": "",
    "vision_three_over_limit": "a.png",
    "doc_to_vision_chat": "a.png",  # refused by one of the two, like the others with a file of no allowed type
    "multi_chat_no_id": "",
    "multi_chat_badmethod": "",
    "multi_chat_nourl": "",
    "multi_chat_custom_bad_ext": "a.mp4",
    "multi_chat_only_a_zip": "a.zip",
    "multi_chat_remote_zip": "",
    "multi_chat_only_a_pdf": "a.pdf",
    "multi_chat_only_a_mp3": "a.mp3",
    "multi_chat_type_mismatch": "a.txt",
    "multi_chat_seven": "a.png",
    "workflow_file_list_for_single": "",
    "workflow_file_local": "a.png",
    "params_wf_doc_as_list": "",
    "params_wf_doc_wrongtype": "",
    "params_wf_doc_null": "",
    "params_wf_docs_as_obj": "",
    "params_wf_docs_empty": "",
    "params_wf_docs_too_many": "",
    "params_wf_custom": "",
    "upload_badfield": "",
    "upload_big_doc_16MB": "",
    "upload_big_image_11MB": "",
}


def recordings() -> list[Any]:
    names = [(version, name) for version in ("0.15.3", "1.12.1") for name in NAMES]
    there = [(version, name) for version, name in names if (TRACES / version / f"{name}.json").exists()]
    return [pytest.param(version, name, id=f"{version}-{name}") for version, name in there]


@pytest.mark.parametrize(("version", "name"), recordings())
async def test_a_file_is_accepted_or_refused_as_recorded(version: str, name: str) -> None:
    trace = json.loads((TRACES / version / f"{name}.json").read_text())
    request, response = trace["request"], trace["response"]
    app = APPS[trace["app"]]
    body = _body(request["body"], name)
    async with Simulator(version, [app], speed=1000) as simulator:
        for upload_id in set(re.findall(rb'"upload_file_id": "([0-9a-f-]{36})"', body)):
            stored = _stored(upload_id.decode(), NAMES[name], app.key)
            simulator.store.files[stored.id] = stored
        asked = Ask(simulator)
        content_type = dict(request["headers"])["Content-Type"]
        headers = {"Authorization": f"Bearer {app.key}", "Content-Type": content_type, "Connection": "close"}
        await asked.open("POST", request["path"], headers, body)
        answer = await asked.read_all()
    assert f"HTTP/1.1 {answer.status} {answer.phrase}" == response["status_line"]
    if response["file"].endswith(".body"):
        assert answer.body == (TRACES / version / response["file"]).read_bytes()
    else:
        assert len(simulator.runs) == 1


def test_the_two_releases_differ_where_they_did() -> None:
    """So that a simulator of one release alone would not pass."""
    differ = [name for name in NAMES if len({_ending(version, name) for version in ("0.15.3", "1.12.1")} - {None}) == 2]
    assert {"doc_to_vision_chat", "multi_chat_nourl", "multi_chat_only_a_zip"} <= set(differ)


def _ending(version: str, name: str) -> str | None:
    path = TRACES / version / f"{name}.json"
    return Path(json.loads(path.read_text())["response"]["file"]).suffix if path.exists() else None


def _body(recorded: Any, name: str) -> bytes:
    if not isinstance(recorded, str):
        return json.dumps(recorded).encode()
    body = recorded.replace("\n", "\r\n").encode()
    if "_big_" not in name:
        return body
    boundary = body.partition(b"\r\n")[0]  # the recording has only the beginning of the file
    head = b'Content-Disposition: form-data; name="file"; filename="big.%b"\r\nContent-Type: x/y\r\n\r\n'
    extension = b"png" if "image" in name else b"txt"
    return b"%b\r\n%b%b\r\n%b--\r\n" % (boundary, head % extension, b"x" * (16 << 20), boundary)


def _stored(upload_id: str, name: str, app_key: str) -> UploadedFile:
    extension = name.rpartition(".")[2]
    media_type = MEDIA_TYPES.get(extension, "application/octet-stream")
    return UploadedFile(upload_id, name, 3, extension, media_type, "u1", app_key, 0, b"abc")
