"""Tool loops and typed answers, by the clients that people use for them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI, pydantic_function_tool
from pydantic import BaseModel

from tests.conformance.conftest import KEY, Gateway
from tests.conformance.models import CHAT
from tests.conformance.processes import ROOT, run_client

CLIENTS = ROOT / "tests/conformance/clients"
FRAMEWORKS, INSTRUCTOR = ROOT / ".venv-frameworks/bin/python", ROOT / ".venv-instructor/bin/python"
NODE = Path(sys.executable).parent / "node"

TOOLS_SAID = "The tools said: 12 degrees in Oslo"
PERSON = {"name": "Ada", "age": 36}


def calls(name: str, arguments: dict[str, Any], then: str = "") -> str:
    """A question that lets the model call this tool, and say that once it has the result."""
    rest = f" then={json.dumps(then)}" if then else ""
    return f"How is it? [[call={json.dumps(f'{name} {json.dumps(arguments)}')}{rest}]]"


CALL = calls("weather", {"city": "Oslo"})
PERSON_CALL = calls("Person", PERSON)
# As models write it.
PERSON_JSON = f"Who? [[text={json.dumps(f'Sure! ```json{chr(10)}{json.dumps(PERSON)}{chr(10)}``` Anything else?')}]]"
THEN_PERSON = f'<CALL>{{"name": "final_result", "arguments": {json.dumps(PERSON)}}}</CALL>'


def plan(**questions: str) -> str:
    return json.dumps({"model": CHAT, **questions})


# --- openai-python ----------------------------------------------------------------------------------------------------


class Weather(BaseModel):
    """The weather in a city."""

    city: str


class Person(BaseModel):
    """A person."""

    name: str
    age: int


@pytest.mark.parametrize("memory", ["history", "hidden"])
@pytest.mark.parametrize("streamed", [False, True])
def test_openai_python_loops_to_the_end(gateway: Gateway, memory: str, streamed: bool) -> None:
    client = OpenAI(base_url=gateway.base_url, api_key=KEY, default_headers={"X-Conversation-Memory": memory})
    tools = [pydantic_function_tool(Weather, name="weather")]
    messages: list[Any] = [{"role": "user", "content": CALL}]
    for _ in range(3):
        if streamed:
            with client.chat.completions.stream(model=CHAT, messages=messages, tools=tools) as stream:
                message = stream.get_final_completion().choices[0].message
        else:
            message = client.chat.completions.parse(model=CHAT, messages=messages, tools=tools).choices[0].message
        messages.append(message)
        if not message.tool_calls:
            break
        for call in message.tool_calls:
            asked = call.function.parsed_arguments
            assert isinstance(asked, Weather)
            content = f"12 degrees in {asked.city}"
            messages.append({"role": "tool", "tool_call_id": call.id, "content": content})
    assert (messages[-1].content or "").startswith(TOOLS_SAID)


@pytest.mark.parametrize("streamed", [False, True])
def test_openai_python_parses_a_typed_answer(gateway: Gateway, streamed: bool) -> None:
    client = OpenAI(base_url=gateway.base_url, api_key=KEY)
    fields: dict[str, Any] = {"model": CHAT, "messages": [{"role": "user", "content": PERSON_JSON}]}
    if streamed:
        with client.chat.completions.stream(**fields, response_format=Person) as stream:
            message = stream.get_final_completion().choices[0].message
    else:
        message = client.chat.completions.parse(**fields, response_format=Person).choices[0].message
    assert message.parsed == Person(**PERSON)


# --- frameworks -------------------------------------------------------------------------------------------------------


def test_langchain(gateway: Gateway) -> None:
    questions = plan(call=CALL, person_call=PERSON_CALL, person_json=PERSON_JSON)
    outcome = run_client(FRAMEWORKS, CLIENTS / "langchain_tools.py", gateway.base_url, KEY, questions)
    for name, said in outcome.pop("loops").items():
        assert said.startswith(TOOLS_SAID), name
    assert outcome == dict.fromkeys(("function_calling", "json_schema", "json_mode"), PERSON)


def test_pydantic_ai(gateway: Gateway) -> None:
    then_person = calls("weather", {"city": "Oslo"}, then=THEN_PERSON)
    questions = plan(call=CALL, call_then_person=then_person, person_json=PERSON_JSON)
    outcome = run_client(FRAMEWORKS, CLIENTS / "pydantic_ai_tools.py", gateway.base_url, KEY, questions)
    for name in ("history", "hidden", "streamed"):
        assert outcome.pop(name).startswith(TOOLS_SAID), name
    assert outcome == dict.fromkeys(("output tool", "native", "prompted"), PERSON)


def test_instructor(gateway: Gateway) -> None:
    partial = calls("PartialPerson", PERSON)
    questions = plan(person_call=PERSON_CALL, person_json=PERSON_JSON, partial_call=partial)
    outcome = run_client(INSTRUCTOR, CLIENTS / "instructor_tools.py", gateway.base_url, KEY, questions)
    assert outcome == dict.fromkeys(("tools", "json", "markdown", "schema", "partial"), PERSON)


@pytest.mark.parametrize("package", ["openai", "openai-6"])
def test_openai_node_and_the_vercel_ai_sdk(gateway: Gateway, package: str) -> None:
    script = ROOT / "tests/conformance/node/tools.mjs"
    questions = plan(call=CALL, personJson=PERSON_JSON)
    outcome = run_client(NODE, script, package, gateway.base_url, KEY, questions)
    for client in ("runner", "vercel"):
        for name, said in outcome[client].items():
            assert said.startswith(TOOLS_SAID), f"{client} {name}"
    assert outcome["objects"] == dict.fromkeys(("schema", "plain", "streamed"), PERSON)
