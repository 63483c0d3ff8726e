from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dify_api.app import AppMode
from gateway.dify_api.description import AppDescription, mode_from_probes, read_description
from gateway.errors import GatewayError, UpstreamProtocolError
from gateway.exchange.model import InputField

TRACES = Path(__file__).parents[2] / "traces"
PARAMETERS = sorted([*TRACES.glob("*/info_parameters_*.body"), *TRACES.glob("*/params2_parameters_*.body")])
INFOS = sorted([*TRACES.glob("*/info_info_*.body"), *TRACES.glob("*/params2_info_*.body")])
EMPTY_FORM: dict[str, Any] = {"user_input_form": []}
INFO = {"name": "a", "description": "b", "tags": []}


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def mode_of(path: Path) -> AppMode:
    """The mode of the app behind a recording."""
    return AppMode(load(path.with_suffix(".json"))["mode"])


def body(version: str, name: str) -> Any:
    return load(TRACES / version / f"{name}.body")


def name_of(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


def test_there_are_recordings() -> None:
    assert len(PARAMETERS) > 40
    assert len(INFOS) > 30


@pytest.mark.parametrize("path", INFOS, ids=name_of)
def test_a_recorded_info_is_read(path: Path) -> None:
    described = read_description(load(path), EMPTY_FORM)
    assert described.name == load(path)["name"]
    assert described.description == load(path)["description"]
    # Dify 0.15.3 tells no mode.
    assert described.mode == (mode_of(path) if path.parent.name == "1.12.1" else None)
    assert described.keeps_first_inputs == (path.parent.name == "0.15.3")


@pytest.mark.parametrize("path", PARAMETERS, ids=name_of)
def test_a_recorded_form_is_read_whole(path: Path) -> None:
    entries = [(kind, field) for entry in load(path)["user_input_form"] for kind, field in entry.items()]
    fields = read_description(INFO, load(path)).inputs
    assert [(f.kind, f.variable, f.required, f.label) for f in fields] == [
        (kind, field["variable"], field["required"], field["label"]) for kind, field in entries
    ]


def test_the_fields_of_a_basic_app() -> None:
    described = read_description(INFO, body("1.12.1", "params2_parameters_params_chat"))
    assert described.inputs == (
        InputField("name", "text-input", "Name", False, 48, (), "Bob"),
        InputField("text", "paragraph", "Text", False, None, (), None),
        InputField("tone", "select", "Tone", False, None, ("kind", "rude", "日本"), "kind"),
        InputField("age", "number", "Age", False, None, (), None),
        InputField("agree", "checkbox", "Agree", False, None, (), False),
    )


@pytest.mark.parametrize(
    ("features", "moderated", "cites"),
    [
        ({}, False, True),
        ({"sensitive_word_avoidance": {"enabled": True}, "retriever_resource": {"enabled": False}}, True, False),
        ({"sensitive_word_avoidance": {"enabled": "yes"}, "retriever_resource": None}, False, True),
    ],
)
def test_features_are_read(features: dict[str, Any], moderated: bool, cites: bool) -> None:
    described = read_description(INFO, {"user_input_form": [], **features})
    assert (described.moderated, described.cites) == (moderated, cites)


def test_a_file_lists_max_length_is_read() -> None:
    docs = read_description(INFO, body("0.15.3", "params2_parameters_params_workflow")).inputs[5]
    assert (docs.variable, docs.kind, docs.max_length) == ("docs", "file-list", 3)


def test_which_files_an_app_takes_is_read() -> None:
    vision = read_description(INFO, body("1.12.1", "info_parameters_chat-vision"))
    assert vision.files is not None
    assert (vision.files.types, vision.files.number) == (("image",), 2)
    assert vision.sizes.image == 10 * 1024 * 1024
    assert read_description(INFO, body("1.12.1", "info_parameters_workflow-files")).files is None


@pytest.mark.parametrize(
    ("name", "read"),
    [
        (" Helpdesk ", "Helpdesk"),
        ("a\r\n\tb\x00c\u2028d", "a b c d"),
        ("客服 👩‍💻 \u202ebot", "客服 👩‍💻 \u202ebot"),
        ("a\ud83d", "a\ufffd"),
        ("x" * 300, "x" * 200),
        ("x" * 199 + " yz", "x" * 199),
        ("", "dify-app"),
        (" \n ", "dify-app"),
        (None, "dify-app"),
        (5, "dify-app"),
    ],
)
def test_names_are_made_fit_to_be_model_ids(name: Any, read: str) -> None:
    assert read_description({"name": name}, EMPTY_FORM).name == read


@pytest.mark.parametrize("mode", ["channel", "rag-pipeline", "", None, 5, ["chat"]])
def test_a_mode_that_is_not_known_is_none(mode: Any) -> None:
    assert read_description({"name": "a", "mode": mode}, EMPTY_FORM).mode is None


@pytest.mark.parametrize("mode", AppMode)
def test_every_known_mode_is_read(mode: AppMode) -> None:
    assert read_description({"name": "a", "mode": mode.value}, EMPTY_FORM).mode is mode


@pytest.mark.parametrize(
    "form",
    [
        None,
        {},
        "x",
        [None, 5, [], {}, {"text-input": None}, {"text-input": {}}, {"text-input": {"variable": ""}}],
    ],
)
def test_a_broken_form_is_an_empty_one(form: Any) -> None:
    assert read_description(INFO, {"user_input_form": form}).inputs == ()


def test_odd_fields_keep_what_is_right_in_them() -> None:
    form = [
        {"select": {"variable": "a", "required": None, "options": ["x", 5, None], "max_length": 0, "default": ""}},
        {"hologram": {"variable": "b", "required": "yes", "options": None, "max_length": "long", "hide": True}},
        {"text-input": {"variable": "c", "required": True, "max_length": True}},
        {"paragraph": {"variable": "a"}},  # a variable stands once: the first counts
    ]
    assert read_description(INFO, {"user_input_form": form}).inputs == (
        InputField("a", "select", options=("x",)),
        InputField("b", "hologram"),
        InputField("c", "text-input", required=True),
    )


DIFY_ERROR = {"code": "unauthorized", "message": "Access token is invalid", "status": 401}


@pytest.mark.parametrize("wrong", [None, [], "<html>", 5, {}, DIFY_ERROR, {"status": "ok"}])
def test_what_is_not_difys_is_refused(wrong: Any) -> None:
    with pytest.raises(UpstreamProtocolError, match="/info"):
        read_description(wrong, EMPTY_FORM)
    with pytest.raises(UpstreamProtocolError, match="/parameters"):
        read_description(INFO, wrong)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)
FIELD = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(["variable", "label", "required", "max_length", "options", "default", "type"], JSON),
)
FORM = st.lists(JSON | st.dictionaries(st.sampled_from(["text-input", "select", "x"]), FIELD | JSON, max_size=2))
INFO_LIKE = JSON | st.fixed_dictionaries({"name": JSON}, optional={"mode": JSON, "description": JSON})
PARAMETERS_LIKE = JSON | st.fixed_dictionaries({"user_input_form": FORM | JSON}, optional={"file_upload": JSON})


@given(INFO_LIKE, PARAMETERS_LIKE)
def test_any_json_is_read_or_refused(info: Any, parameters: Any) -> None:
    try:
        described = read_description(info, parameters)
    except GatewayError:
        return
    assert isinstance(described, AppDescription)
    assert described.name.strip() == described.name != ""
    described.name.encode()
    assert all(field.variable for field in described.inputs)


# --- modes of servers that do not tell them ------------------------------------------------------------------------

NOT_CHAT = (400, body("0.15.3", "mode_chat_on_completion"))
NOT_WORKFLOW = (400, body("0.15.3", "mode_workflow_on_chat"))
EMPTY_QUERY = (400, body("0.15.3", "err_query_empty"))
NO_BLOCKING = (400, body("0.15.3", "agent_block"))
NO_INPUTS = (400, body("0.15.3", "workflow_no_inputs"))
PROBED = {
    AppMode.CHAT: (EMPTY_QUERY, NOT_WORKFLOW),
    AppMode.ADVANCED_CHAT: (EMPTY_QUERY, NOT_WORKFLOW),
    AppMode.AGENT_CHAT: (NO_BLOCKING, NOT_WORKFLOW),
    AppMode.COMPLETION: (NOT_CHAT, NOT_WORKFLOW),
    AppMode.WORKFLOW: (NOT_CHAT, NO_INPUTS),
}


@pytest.mark.parametrize("path", PARAMETERS, ids=name_of)
def test_the_probes_tell_the_mode_of_every_recorded_app(path: Path) -> None:
    mode = mode_of(path)
    assert mode_from_probes([*PROBED[mode], (200, load(path))]) is mode


@pytest.mark.parametrize("version", ["0.15.3", "1.12.1"])
@pytest.mark.parametrize(
    ("traces", "mode"),
    [
        (("mode_chat_on_completion", "mode_workflow_on_chat"), AppMode.COMPLETION),
        (("mode_chat_on_workflow", "workflow_no_inputs"), AppMode.WORKFLOW),
        (("err_query_empty", "mode_workflow_on_chat"), AppMode.CHAT),
        (("err_query_empty", "probe_wrongmode"), AppMode.CHAT),
        (("agent_block", "mode_workflow_on_chat"), AppMode.AGENT_CHAT),
    ],
)
def test_recorded_refusals_tell_the_mode_even_without_parameters(
    version: str, traces: tuple[str, str], mode: AppMode
) -> None:
    answers = [(400, body(version, trace)) for trace in traces]
    assert mode_from_probes([*answers, (502, None)]) is mode


def test_a_flow_without_features_is_known_by_its_form() -> None:
    image = {"image": {"enabled": False, "detail": "high"}}  # what Dify writes where a flow has stored no setting
    form = [{"select": {"variable": "a", "type": "select"}}]
    flow = {"user_input_form": form, "file_upload": image}
    assert mode_from_probes([EMPTY_QUERY, NOT_WORKFLOW, (200, flow)]) is AppMode.ADVANCED_CHAT
    tool = {"user_input_form": [{"api": {"variable": "a", "type": "api", "config": {}}}], "file_upload": image}
    assert mode_from_probes([EMPTY_QUERY, NOT_WORKFLOW, (200, tool)]) is AppMode.CHAT


def test_parameters_without_any_sign_of_a_flow_are_a_chat_apps() -> None:
    assert mode_from_probes([EMPTY_QUERY, NOT_WORKFLOW, (200, EMPTY_FORM)]) is AppMode.CHAT


@pytest.mark.parametrize(
    "answers",
    [
        [],
        [EMPTY_QUERY],
        [(502, None), (502, None), (502, None)],
        [(401, DIFY_ERROR), (401, DIFY_ERROR), (401, DIFY_ERROR)],
        [NOT_CHAT, (500, {"code": "unknown"}), (200, {})],
        [(200, {"event": "message"}), NOT_WORKFLOW, (200, {})],
        [(200, {"code": "invalid_param"}), NOT_WORKFLOW, (200, {})],
    ],
)
def test_unclear_answers_tell_no_mode(answers: list[tuple[int, Any]]) -> None:
    assert mode_from_probes(answers) is None


@given(st.lists(st.tuples(st.sampled_from([200, 400, 404, 500]), JSON | PARAMETERS_LIKE), max_size=4))
def test_any_answers_to_the_probes_are_read(answers: list[tuple[int, Any]]) -> None:
    assert mode_from_probes(answers) in [*AppMode, None]
