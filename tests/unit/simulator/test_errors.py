"""Refusals, byte for byte: the simulator against recordings of what real servers refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.simulator import apps
from tests.simulator.server import Simulator
from tests.unit.simulator.rawclient import Ask

TRACES = Path(__file__).parents[2] / "traces"
APPS = {
    "chat": apps.DEMO_CHAT,
    "agent": apps.DEMO_AGENT,
    "chatflow": apps.DEMO_CHATFLOW,
    "completion": apps.DEMO_COMPLETION,
    "workflow": apps.TWO_OUTPUTS_WORKFLOW,
    "chat-form": apps.FORM_CHAT,
    "chat-vision": apps.VISION_CHAT,
}
REFUSALS = (
    *("err_badkey", "err_badkey_get", "err_noauth", "err_bearer_empty", "err_bearer_only", "err_scheme_basic"),
    *("app_api_disabled", "app_api_disabled_info", "app_status_abnormal"),
    *("err_nouser", "err_user_empty", "err_user_null", "err_user_long", "post_user_in_query"),
    *("err_query_empty", "err_query_missing", "err_query_null", "err_query_int", "err_query_list", "err_surrogate"),
    *("err_inputs_missing", "err_inputs_null", "err_inputs_list", "err_inputs_str", "err_mode_bad"),
    *("err_conv_int", "err_conv_notuuid", "err_conv_unknown", "err_conv_unknown_block", "msg_list_unknown"),
    *("err_json_array", "err_json_empty", "err_json_malformed", "err_json_string", "odd_deep", "odd_user_nul"),
    *("err_ctype_form", "err_ctype_text", "err_noctype", "req_gzip_body"),
    *("err_404", "err_trailing_slash", "err_get_on_chat"),
    *("mode_chat_on_completion", "mode_chat_on_workflow", "mode_completion_on_chat", "mode_completion_on_workflow"),
    *("mode_workflow_on_chat", "mode_workflow_on_chatflow", "probe_wrongmode", "conv_list_workflow"),
    *("stop_nobody", "stop_nouser", "stop_on_workflow_app_chatpath", "agent_block"),
    *("form_missing_block", "form_missing_required", "form_name_int", "form_number_bad", "form_select_bad"),
    *("form_too_long", "workflow_missing_required", "workflow_no_inputs", "workflow_inputs_int"),
    *("completion_missing_required", "completion_query_toplevel"),
    *("conv_list_badlast", "conv_list_badsort", "conv_list_limit0", "conv_list_limit101", "msg_list_noconv"),
    *("upload_nofile", "vision_badid", "vision_badtype", "vision_dataurl"),
)


def recordings() -> list[Any]:
    names = [(version, name) for version in ("0.15.3", "1.12.1") for name in REFUSALS]
    # What one release refuses another may accept.
    refused = [(version, name) for version, name in names if (TRACES / version / f"{name}.body").exists()]
    return [pytest.param(version, name, id=f"{version}-{name}") for version, name in refused]


@pytest.mark.parametrize(("version", "name"), recordings())
async def test_it_refuses_in_the_recorded_words(version: str, name: str) -> None:
    trace = json.loads((TRACES / version / f"{name}.json").read_text())
    request, response = trace["request"], trace["response"]
    disabled, abnormal = "disabled" in name, "abnormal" in name
    app = replace(APPS[trace["app"]], api_enabled=not disabled, status_normal=not abnormal)
    headers = {key: value.replace(f"<key of {trace['app']}>", app.key) for key, value in request["headers"]}
    for framing in ("Host", "Content-Length", "Transfer-Encoding"):
        headers.pop(framing, None)
    async with Simulator(version, [app], speed=1000) as simulator:
        asked = Ask(simulator)
        await asked.open(request["method"], request["path"], headers | {"Connection": "close"}, _bytes(request, name))
        answer = await asked.read_all()
    assert answer.body == (TRACES / version / response["file"]).read_bytes()
    assert f"HTTP/1.1 {answer.status} {answer.phrase}" == response["status_line"]
    assert _names(answer.headers) == _names(dict(response["headers"]))
    assert not simulator.runs


def _bytes(request: dict[str, Any], name: str) -> bytes:
    body = request.get("body")
    if body is None:
        return b""
    if isinstance(body, str) and name != "err_json_string":
        return body.encode("utf-8", "surrogatepass")
    return json.dumps(body).encode()


def _names(headers: dict[str, str]) -> set[str]:
    return set(headers) - {"Vary"}
