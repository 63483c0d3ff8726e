"""The model list stays plain; one model's document tells what its app asks for."""

from __future__ import annotations

import json

from gateway.exchange.model import FileRules, InputField, Model
from gateway.openai_api.models import model_document, model_list
from tests.schemas import validate

PLAIN = Model("travel", 1_700_000_000, name="Travel", mode="chat")
RICH = Model(
    "团队/助手 v2",
    1_700_000_001,
    name="助手",
    mode="workflow",
    description="Plans\u2028trips",
    inputs=(
        InputField("city", "text-input", label="City", required=True, max_length=48),
        InputField("tone", "select", options=("warm", "cold"), default="warm"),
        InputField("extra", "json_object", default={"a": [1, None]}),
    ),
)


def test_the_list_has_one_plain_entry_a_model() -> None:
    body = json.loads(model_list(iter([PLAIN, RICH])))
    validate("ListModelsResponse", body)
    assert body == {
        "object": "list",
        "data": [
            {"id": "travel", "object": "model", "created": 1_700_000_000, "owned_by": "dify"},
            {"id": "团队/助手 v2", "object": "model", "created": 1_700_000_001, "owned_by": "dify"},
        ],
    }


def test_no_model_is_an_empty_list() -> None:
    body = json.loads(model_list([]))
    validate("ListModelsResponse", body)
    assert body == {"object": "list", "data": []}


def test_a_document_adds_what_the_app_is_and_asks_for() -> None:
    raw = model_document(RICH)
    assert raw.isascii()
    body = json.loads(raw)
    validate("Model", body)
    app = body.pop("dify")
    assert body == {"id": "团队/助手 v2", "object": "model", "created": 1_700_000_001, "owned_by": "dify"}
    inputs = app.pop("inputs")
    assert app == {"name": "助手", "mode": "workflow", "description": "Plans\u2028trips", "files": None}
    assert inputs == [
        {
            "variable": "city",
            "type": "text-input",
            "label": "City",
            "required": True,
            "max_length": 48,
            "options": [],
            "default": None,
        },
        {
            "variable": "tone",
            "type": "select",
            "label": "",
            "required": False,
            "max_length": None,
            "options": ["warm", "cold"],
            "default": "warm",
        },
        {
            "variable": "extra",
            "type": "json_object",
            "label": "",
            "required": False,
            "max_length": None,
            "options": [],
            "default": {"a": [1, None]},
        },
    ]


def test_an_app_without_inputs_says_so() -> None:
    body = json.loads(model_document(PLAIN))
    validate("Model", body)
    assert body["dify"] == {"name": "Travel", "mode": "chat", "description": "", "inputs": [], "files": None}


def test_a_document_tells_which_files_the_app_takes() -> None:
    rules = FileRules(types=("image", "custom"), extensions=(".zip",), methods=("local_file",), number=3)
    shown = {
        "allowed_file_types": ["image", "custom"],
        "allowed_file_extensions": [".zip"],
        "allowed_file_upload_methods": ["local_file"],
        "number_limits": 3,
    }
    model = Model("m", 1, "m", "workflow", inputs=(InputField("pics", "file-list", files=rules),), files=rules)
    app = json.loads(model_document(model))["dify"]
    assert (app["files"], app["inputs"][0]["files"]) == (shown, shown)
