from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dify_api.app import App, AppKey, AppMode
from gateway.dify_api.description import read_description
from gateway.dify_api.inputs import fill_inputs, text_variable
from gateway.errors import AppUnavailable, GatewayError, InvalidRequest
from gateway.exchange.model import InputField

TRACES = Path(__file__).parents[2] / "traces"
GROUPS = ["form_*", "params_*", "workflow_*", "completion_*", "flow_var_*", "chat_form_stream"]
TRACED = sorted(path for group in GROUPS for path in TRACES.glob(f"*/{group}.json"))
# What Dify lets through and the gateway does not: it would vanish without a word.
UNKNOWN_INPUTS = {"form_unknown_input": "zz", "workflow_extra_inputs": "zzz"}


def app(*inputs: InputField, mode: AppMode = AppMode.CHAT, query_variable: str | None = None) -> App:
    key = AppKey("app-1", "http://dify/v1", query_variable=query_variable)
    return App(key, "m", "m", mode, inputs=inputs)


def traced_app(version: str, name: str) -> App | None:
    """A recorded app, as if it took a query: then no text fills an input, and Dify's checks stand alone."""
    for file in (f"info_parameters_{name}.body", f"params2_parameters_{name.replace('-', '_')}.body"):
        if (path := TRACES / version / file).exists():
            return app(*read_description({"name": "a"}, json.loads(path.read_text())).inputs)
    return None  # its form was not recorded


def traced_cases() -> list[Any]:
    cases = []
    for path in TRACED:
        trace = json.loads(path.read_text())
        version, body = path.parent.name, trace["request"]["body"]
        traced = traced_app(version, trace["app"])
        if traced and isinstance(body, dict) and isinstance(body.get("inputs"), dict):
            status = int(trace["response"]["status_line"].split()[1])
            message = json.loads(path.with_suffix(".body").read_text()).get("message", "") if status == 400 else ""
            refused = re.search(r"(\w+) (?:is required )?in input form", message)
            expected = refused[1] if refused else UNKNOWN_INPUTS.get(path.stem)
            cases.append(pytest.param(traced, body["inputs"], expected, id=f"{version}-{path.stem}"))
    return cases


CASES = traced_cases()


def test_there_are_recordings_of_both_kinds() -> None:
    assert sum(case.values[2] is None for case in CASES) > 30
    assert sum(case.values[2] is not None for case in CASES) > 30


@pytest.mark.parametrize(("traced", "inputs", "refused"), CASES)
def test_what_real_servers_refuse_is_refused_and_the_rest_passes(
    traced: App, inputs: dict[str, Any], refused: str | None
) -> None:
    if refused is None:
        filled = fill_inputs(traced, inputs, "hi")
        assert filled.items() >= {name: value for name, value in inputs.items() if value is not None}.items()
    else:
        with pytest.raises(InvalidRequest) as caught:
            fill_inputs(traced, inputs, "hi")
        assert caught.value.param == f"inputs.{refused}"


# --- missing values ------------------------------------------------------------------------------------------------


def test_the_defaults_that_dify_shows_are_applied() -> None:
    traced = traced_app("1.12.1", "params-chat")
    assert traced is not None
    assert fill_inputs(traced, {}, "hi") == {
        "name": "Bob",
        "text": "",
        "tone": "kind",
        "agree": False,
    }


@pytest.mark.parametrize("given_inputs", [{}, {"v": None}])
@pytest.mark.parametrize(
    ("field", "filled"),
    [
        (InputField("v", "text-input"), {"v": ""}),
        (InputField("v", "paragraph"), {"v": ""}),
        (InputField("v", "text-input", default="x"), {"v": "x"}),
        (InputField("v", "text-input", required=True, default="x"), {"v": "x"}),
        (InputField("v", "text-input", max_length=2, default="too long"), {"v": ""}),
        (InputField("v", "select", options=("a", "b")), {}),
        (InputField("v", "select", options=("a", "b"), default="b"), {"v": "b"}),
        (InputField("v", "select", options=("a", "b"), default="gone"), {}),
        (InputField("v", "number"), {}),
        (InputField("v", "number", default=0), {"v": 0}),
        (InputField("v", "checkbox", default=False), {"v": False}),
        (InputField("v", "checkbox"), {}),
        (InputField("v", "file"), {}),
        (InputField("v", "file-list", default=[]), {}),
        (InputField("v", "json_object", default={}), {}),
        (InputField("v", "json_object", default="{}"), {}),
        (InputField("v", "hologram"), {}),
        (InputField("v", "external_data_tool", required=True), {}),
    ],
)
def test_what_is_missing_is_filled(field: InputField, filled: dict[str, Any], given_inputs: dict[str, Any]) -> None:
    assert fill_inputs(app(field), given_inputs, "hi") == filled


@pytest.mark.parametrize("kind", ["text-input", "paragraph", "select", "number", "checkbox", "file", "hologram"])
def test_what_is_required_and_missing_is_named(kind: str) -> None:
    with pytest.raises(InvalidRequest, match=f"'v' \\({kind}") as caught:
        fill_inputs(app(InputField("v", kind, required=True, options=("a",))), {"v": None}, "hi")
    assert caught.value.param == "inputs.v"


def test_a_required_select_without_a_usable_default_lists_its_options() -> None:
    with pytest.raises(InvalidRequest, match="'a', 'b'"):
        fill_inputs(app(InputField("v", "select", required=True, options=("a", "b"), default="x")), {}, "hi")


# --- values --------------------------------------------------------------------------------------------------------

OPTIONAL, REQUIRED = False, True


@pytest.mark.parametrize(
    ("kind", "required", "value"),
    [
        ("text-input", REQUIRED, ""),
        ("text-input", OPTIONAL, "é" * 5),
        ("paragraph", OPTIONAL, "👩‍💻"),
        ("select", OPTIONAL, "a"),
        ("number", REQUIRED, 3),
        ("number", REQUIRED, 2.5),
        ("number", REQUIRED, "-7"),
        ("number", REQUIRED, " 7.25 "),
        ("number", REQUIRED, ".5"),
        ("number", REQUIRED, 123456789),  # longer than max_length, which means nothing here
        ("number", OPTIONAL, ""),
        ("number", OPTIONAL, " "),
        ("checkbox", REQUIRED, True),
        ("checkbox", REQUIRED, 0),
        ("checkbox", REQUIRED, "yes"),
        ("checkbox", REQUIRED, "maybe"),
        ("file", REQUIRED, {"type": "image", "transfer_method": "remote_url", "url": "http://a/b.png"}),
        ("file-list", REQUIRED, []),
        ("file-list", REQUIRED, [{}] * 5),
        ("json_object", REQUIRED, {"a": [1]}),
        ("hologram", REQUIRED, [[1]]),
    ],
)
def test_good_values_go_through_unchanged(kind: str, required: bool, value: Any) -> None:
    field = InputField("v", kind, required=required, max_length=5, options=("a",))
    assert fill_inputs(app(field), {"v": value}, "hi") == {"v": value}


@pytest.mark.parametrize(
    ("kind", "value", "wanted"),
    [
        ("text-input", 5, "must be a string, not a number"),
        ("text-input", True, "must be a string, not a boolean"),
        ("paragraph", ["x"], "must be a string, not an array"),
        ("text-input", "123456", "at most 5 characters, not 6"),
        ("select", "b", "one of 'a'"),
        ("select", "", "one of 'a'"),
        ("select", ["a"], "one of 'a'"),
        ("select", 5, "one of 'a'"),
        ("number", True, "must be a number, not a boolean"),
        ("number", "seven", "must be a number, not a string"),
        ("number", "1e5", "must be a number"),
        ("number", "nan", "must be a number"),
        ("number", "1.e999", "must be a number"),
        ("number", "9" * 5000, "must be a number"),
        ("number", float("nan"), "must be a number"),
        ("number", float("inf"), "must be a number"),
        ("number", {}, "must be a number, not an object"),
        ("number", "", "not empty"),
        ("checkbox", {}, "must be true or false"),
        ("file", [{}], "one file object, not an array"),
        ("file", "http://a/b.png", "one file object, not a string"),
        ("file-list", {}, "an array of file objects"),
        ("file-list", ["x"], "an array of file objects"),
        ("file-list", [{}] * 6, "at most 5 files, not 6"),
        ("json_object", [1], "must be an object, not an array"),
        ("json_object", '{"a": 1}', "must be an object, not a string"),
    ],
)
def test_bad_values_are_refused_with_what_is_wanted(kind: str, value: Any, wanted: str) -> None:
    field = InputField("v", kind, required=True, max_length=5, options=("a",))
    with pytest.raises(InvalidRequest, match=wanted) as caught:
        fill_inputs(app(field), {"v": value}, "hi")
    assert caught.value.param == "inputs.v"


def test_a_select_whose_options_are_unreadable_is_left_to_dify() -> None:
    assert fill_inputs(app(InputField("v", "select")), {"v": "x"}, "hi") == {"v": "x"}


def test_no_limit_means_no_limit() -> None:
    assert fill_inputs(app(InputField("v", "paragraph")), {"v": "x" * 100_000}, "hi")["v"] == "x" * 100_000


def test_an_unknown_input_is_named_and_the_known_ones_are_listed() -> None:
    with pytest.raises(InvalidRequest, match=r"no input 'lang'; its inputs are a \(select\), b \(file, required\)\."):
        fill_inputs(app(InputField("a", "select"), InputField("b", "file", required=True)), {"lang": 1}, "hi")
    with pytest.raises(InvalidRequest, match="takes no inputs") as caught:
        fill_inputs(app(), {"x" * 5000: 1}, "hi")
    assert len(str(caught.value)) < 200


# --- where the text goes -------------------------------------------------------------------------------------------

FLOW = AppMode.WORKFLOW
TEXT = InputField("text", "paragraph")
QUERY = InputField("query", "text-input")
TITLE = InputField("title", "text-input", required=True)
BODY = InputField("body", "paragraph", required=True)
NOTE = InputField("note", "paragraph")
TONE = InputField("tone", "select", options=("kind", "rude"), required=True)
COUNT = InputField("query", "number")


@pytest.mark.parametrize("mode", [AppMode.WORKFLOW, AppMode.COMPLETION])
@pytest.mark.parametrize(
    ("fields", "given_inputs", "variable"),
    [
        ((), {}, None),
        ((TITLE, TEXT), {}, "text"),
        ((TEXT, QUERY), {}, "query"),
        ((TEXT, QUERY), {"query": "x"}, "text"),
        ((TEXT, QUERY), {"query": ""}, "text"),
        ((TEXT, QUERY), {"query": None}, "query"),
        ((TEXT, QUERY), {"query": "x", "text": "y"}, None),
        ((InputField("question", "paragraph"), NOTE), {}, "question"),
        ((InputField("input", "paragraph"), NOTE), {}, "input"),
        ((NOTE, BODY, TONE), {}, "body"),
        ((TITLE, BODY), {"title": "x"}, "body"),
        ((TITLE, BODY), {"title": "x", "body": "y"}, None),
        ((COUNT, BODY), {}, "body"),  # a number is no place for text, whatever its name
        ((NOTE, TONE), {}, "note"),
        ((NOTE, TONE), {"note": "x"}, None),
        ((TONE,), {"tone": "rude"}, None),
    ],
)
def test_the_text_finds_its_input(
    fields: tuple[InputField, ...], given_inputs: dict[str, Any], variable: str | None, mode: AppMode
) -> None:
    assert text_variable(app(*fields, mode=mode), given_inputs) == variable


@pytest.mark.parametrize(
    ("fields", "given_inputs"),
    [
        ((TITLE, BODY), {}),
        ((TITLE, BODY, TONE), {"tone": "rude"}),
        ((NOTE, InputField("remark", "paragraph")), {}),
        ((TONE,), {}),
    ],
)
def test_a_text_without_a_clear_place_is_refused_with_the_list(
    fields: tuple[InputField, ...], given_inputs: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        fill_inputs(app(*fields, mode=FLOW), given_inputs, "hi")
    assert caught.value.param == "inputs"
    for field in fields:
        assert f"{field.variable} ({field.kind}" in caught.value.message


@pytest.mark.parametrize("mode", [mode for mode in AppMode if mode.takes_query])
def test_in_chat_like_apps_the_text_is_no_input(mode: AppMode) -> None:
    assert text_variable(app(QUERY, mode=mode), {}) is None
    assert fill_inputs(app(QUERY, mode=mode), {}, "hi") == {"query": ""}


def test_the_configured_input_comes_first_and_keeps_what_the_client_gave() -> None:
    configured = app(QUERY, NOTE, mode=FLOW, query_variable="note")
    assert fill_inputs(configured, {}, "hi") == {"query": "", "note": "hi"}
    assert fill_inputs(configured, {"note": "mine"}, "hi") == {"query": "", "note": "mine"}


def test_a_configured_input_that_is_not_there_is_the_operators_error() -> None:
    with pytest.raises(AppUnavailable, match=r"DIFY_API_KEYS names query=gone .*query \(text-input\)"):
        fill_inputs(app(QUERY, mode=FLOW, query_variable="gone"), {}, "hi")


def test_a_text_that_does_not_fit_says_that_it_is_the_text() -> None:
    field = InputField("query", "text-input", max_length=3)
    with pytest.raises(InvalidRequest, match=r"'query', which takes the message's text, must have at most 3") as caught:
        fill_inputs(app(field, mode=FLOW), {}, "long")
    assert caught.value.param == "inputs.query"


# --- anything at all -----------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)
KINDS = ["text-input", "paragraph", "select", "number", "checkbox", "file", "file-list", "json_object", "hologram"]
FIELDS = st.builds(
    InputField,
    variable=st.sampled_from(["query", "text", "a", "b"]),
    kind=st.sampled_from(KINDS),
    required=st.booleans(),
    max_length=st.none() | st.integers(1, 5),
    options=st.lists(st.text(max_size=2), max_size=2).map(tuple),
    default=JSON,
)


@given(
    fields=st.lists(FIELDS, max_size=4, unique_by=lambda field: field.variable),
    given_inputs=st.dictionaries(st.sampled_from(["query", "text", "a", "b", "zz"]), JSON),
    text=st.text(max_size=8),
    mode=st.sampled_from(AppMode),
    query_variable=st.none() | st.sampled_from(["a", "zz"]),
)
def test_any_inputs_are_filled_or_refused(
    fields: list[InputField], given_inputs: dict[str, Any], text: str, mode: AppMode, query_variable: str | None
) -> None:
    try:
        filled = fill_inputs(app(*fields, mode=mode, query_variable=query_variable), given_inputs, text)
    except GatewayError:
        return
    assert None not in filled.values()
    assert filled.keys() <= {field.variable for field in fields}
    assert all(filled[name] is value for name, value in given_inputs.items() if value is not None)
    assert all(field.variable in filled for field in fields if field.required)
