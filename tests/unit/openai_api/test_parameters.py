"""What is checked of each parameter, and how a wrong one is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.errors import InvalidRequest
from gateway.openai_api import parameters
from gateway.openai_api.parameters import (
    CHAT_PARAMETERS,
    WITHOUT_A_PLACE,
    JSONType,
    read_max_tokens,
    read_stop,
    without_a_place,
)

# Values of every JSON type, under the words a message uses for what came.
SAMPLES: list[tuple[str, Any]] = [
    ("a string", "x"),
    ("an integer", 7),
    ("a decimal number", 0.5),
    ("a boolean", True),
    ("an array", ["x"]),
    ("an object", {"x": 1}),
]
FITS = {
    parameters.STRING: {"a string"},
    parameters.NUMBER: {"an integer", "a decimal number"},
    parameters.INTEGER: {"an integer"},
    parameters.BOOLEAN: {"a boolean"},
    parameters.OBJECT: {"an object"},
    parameters.ARRAY: {"an array"},
    parameters.STRING_OR_ARRAY: {"a string", "an array"},
    parameters.STRING_OR_OBJECT: {"a string", "an object"},
}


@pytest.mark.parametrize(("name", "expected"), CHAT_PARAMETERS.items())
def test_a_parameter_takes_its_type_and_null_and_nothing_else(name: str, expected: JSONType) -> None:
    parameters.check_types({name: None}, CHAT_PARAMETERS)
    for words, value in SAMPLES:
        if words in FITS[expected]:
            parameters.check_types({name: value}, CHAT_PARAMETERS)
            continue
        with pytest.raises(InvalidRequest) as caught:
            parameters.check_types({name: value}, CHAT_PARAMETERS)
        assert caught.value.param == name
        assert caught.value.code == "invalid_type"
        assert caught.value.message == (
            f"Invalid type for '{name}': expected {expected.words}, but got {words} instead."
        )


def test_booleans_are_no_numbers_and_whole_floats_are_integers() -> None:
    assert not parameters.NUMBER.accepts(True)
    assert not parameters.INTEGER.accepts(False)
    assert parameters.INTEGER.accepts(256.0)
    assert not parameters.INTEGER.accepts(float("inf"))


def test_unknown_parameters_are_nobodys_business() -> None:
    parameters.check_types({"top_k": "forty", "chat_id": 1}, CHAT_PARAMETERS)


def test_text_loses_nul_and_keeps_everything_else() -> None:
    assert parameters.read_text("a\0b\u2028\x7f\U0001f600\ufffe", "x") == "ab\u2028\x7f\U0001f600\ufffe"


def test_text_with_a_lone_surrogate_is_refused_with_its_place() -> None:
    with pytest.raises(InvalidRequest, match="'user': a lone surrogate at position 2") as caught:
        parameters.read_text("ab\ud83d", "user")
    assert (caught.value.param, caught.value.code) == ("user", "invalid_value")


def test_inputs_keep_their_types() -> None:
    inputs = {"a": "x\0", "b": 1, "c": 1.5, "d": True, "e": None, "f": [1, {"g\0": "y"}], "h": 2**70}
    assert parameters.read_inputs(inputs, "inputs") == {**inputs, "a": "x", "f": [1, {"g": "y"}]}


@pytest.mark.parametrize(
    ("inputs", "param"),
    [
        ([], "inputs"),
        ("text", "inputs"),
        ({"a": {"b": ["x", "\ud800"]}}, "inputs.a.b[1]"),
        ({"\udc00": 1}, "inputs"),
        ({"a\nb": {"c": "\ud800"}}, "inputs['a\\nb'].c"),
        ({"a": float("inf")}, "inputs.a"),
        ({"a": [float("nan")]}, "inputs.a[0]"),
    ],
)
def test_inputs_that_cannot_be_sent_on_are_refused(inputs: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parameters.read_inputs(inputs, "inputs")
    assert caught.value.param == param


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: {"x": value}])
def test_inputs_may_be_nested_up_to_a_limit(wrap: Any) -> None:
    def nest(levels: int) -> Any:
        value: Any = "bottom"
        for _ in range(levels):
            value = wrap(value)
        return value

    parameters.read_inputs({"a": nest(parameters.MAX_INPUT_DEPTH - 1)}, "inputs")
    for levels in (parameters.MAX_INPUT_DEPTH, 900):
        with pytest.raises(InvalidRequest, match="nested too deeply") as caught:
            parameters.read_inputs({"a": nest(levels)}, "inputs")
        assert caught.value.param == "inputs"


def test_a_word_outside_the_table_is_answered_with_the_table() -> None:
    with pytest.raises(InvalidRequest, match=r"Invalid value: 'blue'. Supported values are: 'red', 'green'.") as caught:
        parameters.pick({"red": 1, "green": 2}, "blue", "colour")
    assert caught.value.param == "colour"


def test_a_clients_own_words_are_short_and_printable_in_a_message() -> None:
    quoted = parameters.quote("\ud83d\n" + "x" * 10_000)
    assert len(quoted) < 100
    assert quoted.isprintable()


def test_what_has_no_place_is_named() -> None:
    asked = {"temperature": 0, "seed": None, "store": False, "logprobs": True, "messages": [], "stop": "x"}
    assert without_a_place(asked) == ("temperature", "logprobs")
    assert set(WITHOUT_A_PLACE) <= set(CHAT_PARAMETERS)
    readme = Path(__file__).parents[3].joinpath("README.md").read_text("utf-8")
    assert [name for name in WITHOUT_A_PLACE if f"`{name}`" not in readme] == []


@pytest.mark.parametrize(
    ("value", "sequences"), [(None, ()), ("x", ("x",)), ("", ()), (["x", "", "\ny"], ("x", "\ny")), ([], ())]
)
def test_stop_sequences(value: object, sequences: tuple[str, ...]) -> None:
    assert read_stop(value) == sequences


@pytest.mark.parametrize(
    ("value", "param"), [(["x"] * 33, "stop"), ("x" * 1025, "stop"), (["x", "y" * 1025], "stop[1]")]
)
def test_stop_sequences_have_bounds(value: object, param: str) -> None:
    assert read_stop(["x" * 1024] * 32) == ("x" * 1024,) * 32
    with pytest.raises(InvalidRequest) as caught:
        read_stop(value)
    assert caught.value.param == param


def test_a_stop_sequence_is_a_string() -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_stop(["x", 1])
    assert caught.value.param == "stop[1]"


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_tokens": 5, "max_completion_tokens": 6.0}, 6),
        ({"max_tokens": 0}, None),
        ({"max_tokens": -1}, None),
        ({"max_tokens": 10**400}, 1 << 31),
    ],
)
def test_the_limit_of_an_answer(body: dict[str, object], limit: int | None) -> None:
    assert read_max_tokens(body) == limit
