"""Chats that the client names, the user that they belong to, system text, and what front ends ask for themselves."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from dataclasses import replace
from typing import Any

import httpx
import pytest

from gateway.exchange.memory import zero_width
from tests.integration.conftest import Gateway, StartGateway, StartSimulator
from tests.simulator import conversation_api
from tests.simulator.apps import DEMO_CHAT
from tests.simulator.forms import FormField
from tests.simulator.replies import HTML, Reply
from tests.simulator.server import Simulator

Messages = list[dict[str, str]]
HEADER = "X-Dify-Conversation-Id"


@pytest.fixture
def start_gateway(start_gateway: StartGateway) -> StartGateway:
    async def start(simulator: Simulator | None = None, **environ: str) -> Gateway:
        return await start_gateway(simulator, **{"CONVERSATION_MEMORY_MODE": "2", **environ})

    return start


def said(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


async def ask(
    gateway: Gateway, messages: Messages, headers: dict[str, str] | None = None, **more: Any
) -> httpx.Response:
    body = {"model": "Demo Chatbot", "messages": messages, **more}
    response = await gateway.http.post("/v1/chat/completions", json=body, headers=headers)
    assert response.status_code == 200, response.text
    return response


def content_of(response: httpx.Response) -> str:
    if response.headers["content-type"] == "application/json":
        return str(response.json()["choices"][0]["message"]["content"])
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks_of(response))


def chunks_of(response: httpx.Response) -> list[dict[str, Any]]:
    frames = [frame.removeprefix("data: ") for frame in response.text.split("\n\n")]
    return [json.loads(frame) for frame in frames if frame.startswith("{")]


def asked(simulator: Simulator) -> list[dict[str, Any]]:
    """The body of every question so far; what asks for an app's mode has no query."""
    bodies = (record.body for record in simulator.requests if record.path.endswith("/chat-messages"))
    return [body for body in bodies if body["query"]]


async def count(gateway: Gateway, series: str) -> float:
    metrics = (await gateway.http.get("/metrics")).text
    found = re.search(rf"^{re.escape(series)} (\S+)$", metrics, re.MULTILINE)
    return float(found[1]) if found else 0.0


# --- Dify's own id ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("carrier", ["body", "header"])
async def test_a_conversation_goes_on_under_the_id_that_the_answer_names(
    start_gateway: StartGateway, simulator: Simulator, carrier: str, stream: bool
) -> None:
    nodes = [await start_gateway(simulator) for _ in range(2)]
    response = await ask(nodes[0], [said("My cat is Tom. [[n=2]]")], stream=stream)
    named = response.headers[HEADER]
    assert uuid.UUID(named)
    for turn in range(3):
        headers, more = ({HEADER: named}, {}) if carrier == "header" else ({}, {"conversation_id": named})
        response = await ask(nodes[turn % 2], [said(f"turn {turn} [[n=1]]")], headers, stream=stream, **more)
        assert response.headers[HEADER] == named
        field = chunks_of(response)[-1] if stream else response.json()
        assert field["conversation_id"] == named
        assert not zero_width.reveal(content_of(response))
        assert (simulator.runs[-1].query, asked(simulator)[-1]["conversation_id"]) == (f"turn {turn} [[n=1]]", named)
    assert len(simulator.store.conversations[named].messages) == 4


async def test_history_is_not_sent_to_a_conversation_that_is_named(gateway: Gateway, simulator: Simulator) -> None:
    system = {"role": "system", "content": "Be brief."}
    history = [system, said("My cat is Tom. [[n=2]]")]
    response = await ask(gateway, history)
    named = response.headers[HEADER]
    edited = [system, said("Edited."), {"role": "assistant", "content": content_of(response)}, said("More. [[n=1]]")]
    await ask(gateway, edited, conversation_id=named)
    assert simulator.runs[-1].query == "More. [[n=1]]"  # it knows the system text already
    await ask(gateway, [{"role": "system", "content": "Be long."}, said("More. [[n=1]]")], conversation_id=named)
    assert simulator.runs[-1].query == "Be long.\n\nMore. [[n=1]]"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_named_conversation_that_is_gone_is_healed_and_the_new_one_told(
    gateway: Gateway, simulator: Simulator, stream: bool
) -> None:
    gone = str(uuid.uuid4())
    history = [said("My cat is Tom."), {"role": "assistant", "content": "Nice."}, said("His name? [[n=1]]")]
    response = await ask(gateway, history, conversation_id=gone, stream=stream)
    assert response.headers[HEADER] not in (gone, "")
    assert "Tom" in simulator.runs[-1].query
    assert await count(gateway, 'gateway_memory_total{model="Demo Chatbot",outcome="healed"}') == 1


@pytest.mark.parametrize("stranger", [{"user": "bob"}, {"user": "ann", "model": "Demo Chatflow"}])
async def test_a_conversation_of_somebody_else_is_none(
    gateway: Gateway, simulator: Simulator, stranger: dict[str, str]
) -> None:
    named = (await ask(gateway, [said("My secret is 42. [[n=1]]")], user="ann")).headers[HEADER]
    response = await ask(gateway, [said("What is it? [[n=1]]")], conversation_id=named, **stranger)
    assert response.headers[HEADER] != named
    assert len(simulator.store.conversations[named].messages) == 1
    series = f'gateway_memory_total{{model="{stranger.get("model", "Demo Chatbot")}",outcome="healed"}}'
    assert await count(gateway, series) == 1


@pytest.mark.parametrize("written", ["new", "5f2c1b1e"])
async def test_an_id_that_cannot_be_is_refused_before_dify_is_asked(
    gateway: Gateway, simulator: Simulator, written: str
) -> None:
    before = len(simulator.requests)
    response = await gateway.chat("Demo Chatbot", conversation_id=written)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "conversation_id")
    response = await gateway.http.post(
        "/v1/chat/completions", json={"model": "Demo Chatbot", "messages": [said("Hi")]}, headers={HEADER: written}
    )
    assert (response.status_code, response.json()["error"]["param"]) == (400, HEADER.lower())
    response = await gateway.chat("Demo Workflow", conversation_id=str(uuid.uuid4()))
    assert (response.status_code, response.json()["error"]["param"]) == (400, "conversation_id")
    assert len(simulator.requests) == before


async def test_apps_without_conversations_name_none(gateway: Gateway) -> None:
    response = await gateway.chat("Demo Workflow", "Hello [[n=1]]")
    assert HEADER not in response.headers
    assert "conversation_id" not in response.json()


# --- the front end's id -----------------------------------------------------------------------------------------------


class Chat:
    """A front end that tells its chat's id with every request."""

    def __init__(self, *gateways: Gateway, chat: str = "chat-1", **more: Any) -> None:
        self.gateways = gateways
        self.headers = {"X-OpenWebUI-Chat-Id": chat, "X-OpenWebUI-User-Id": more.pop("user", "ann")}
        self.more = more
        self.messages: Messages = []

    async def say(self, text: str) -> str:
        gateway = self.gateways[len(self.messages) // 2 % len(self.gateways)]
        self.messages.append(said(text))
        answer = content_of(await ask(gateway, self.messages, self.headers, **self.more))
        assert zero_width.strip(answer) == answer
        self.messages.append({"role": "assistant", "content": answer})
        return answer


@pytest.mark.parametrize("version", ["0.15.3", "1.12.1", "1.16.0"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_that_is_named_keeps_its_conversation_on_every_node(
    start_simulator: StartSimulator, start_gateway: StartGateway, version: str, stream: bool
) -> None:
    simulator = await start_simulator(version)
    chat = Chat(await start_gateway(simulator), await start_gateway(simulator), stream=stream)
    for turn in range(4):
        await chat.say(f"turn {turn} [[n=3]]")
    first, *later = asked(simulator)
    assert not first.get("conversation_id")
    assert len({body["conversation_id"] for body in later}) == 1
    assert [body["query"] for body in asked(simulator)] == [f"turn {turn} [[n=3]]" for turn in range(4)]
    assert len({body["user"] for body in asked(simulator)}) == 1
    assert asked(simulator)[0]["user"].startswith("ann-chat-")


async def test_a_node_that_knows_the_chat_asks_for_one_message_only(gateway: Gateway, simulator: Simulator) -> None:
    chat = Chat(gateway)
    await chat.say("one [[n=1]]")
    await chat.say("two [[n=1]]")
    lists = [record.path for record in simulator.requests if re.search("/(conversations|messages)$", record.path)]
    assert lists == ["/v1/messages"]


@pytest.mark.parametrize("nodes", [1, 2])
async def test_edits_are_seen_in_a_chat_that_is_named(
    start_gateway: StartGateway, simulator: Simulator, nodes: int
) -> None:
    chat = Chat(*[await start_gateway(simulator) for _ in range(nodes)])
    for text in ("My cat is Tom. [[n=2]]", "He is 3. [[n=2]]", "Why? [[n=2]]"):
        await chat.say(text)
    whole = list(chat.messages)

    async def branches(messages: Messages, text: str) -> str:
        chat.messages = list(messages)
        await chat.say(f"{text} [[n=1]]")
        assert not asked(simulator)[-1].get("conversation_id")
        return simulator.runs[-1].query

    assert "He is 3." in await branches(whole[:4], "asked anew")
    assert "Why?" not in await branches(whole[:2], "two turns deleted")
    edited = await branches([said("My cat is Kit. [[n=2]]"), *whole[1:]], "after an edit")
    assert "Kit" in edited
    assert "Tom" not in edited
    await asyncio.sleep(1.1)  # Dify's times are whole seconds: only then is it clear which conversation is the newest
    edited = await branches([*whole[:5], {"role": "assistant", "content": "w3"}], "after an edited answer")
    assert "w3" in edited
    # The branch is the chat's conversation now.
    await chat.say("And on. [[n=1]]")
    assert simulator.runs[-1].query == "And on. [[n=1]]"
    assert asked(simulator)[-1]["conversation_id"]


@pytest.mark.parametrize(
    "listing", [Reply(200, b'{"data": {}}'), Reply(200, b"[" * 100_000), Reply(500, b"<h1>Sorry</h1>", HTML)]
)
@pytest.mark.parametrize("nodes", [1, 2])
async def test_a_chat_loses_nothing_where_dify_does_not_tell_what_was_said(
    start_gateway: StartGateway, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, nodes: int, listing: Reply
) -> None:
    chat = Chat(*[await start_gateway(simulator) for _ in range(nodes)])
    await chat.say("My cat is Tom. [[n=1]]")
    monkeypatch.setattr(conversation_api, "list_messages", lambda *_: listing)
    await chat.say("His name? [[n=1]]")
    # A node that gave the last answer goes on; another one cannot know which history the conversation holds.
    assert bool(asked(simulator)[-1].get("conversation_id")) == (nodes == 1)
    assert ("Tom" in simulator.runs[-1].query) == (nodes == 2)


async def test_a_chat_that_was_begun_without_a_name_stays_in_its_conversation(
    gateway: Gateway, simulator: Simulator
) -> None:
    history = [said("My cat is Tom. [[n=2]]")]
    named = {"X-OpenWebUI-Chat-Id": "7"}
    for headers in ({}, named, named):
        history.append({"role": "assistant", "content": content_of(await ask(gateway, history, headers))})
        history.append(said("More. [[n=1]]"))
    assert len(simulator.store.conversations) == 1
    assert simulator.runs[-1].query == "More. [[n=1]]"
    history[0] = said("My cat is Kit. [[n=2]]")  # a branch belongs to the chat
    await ask(gateway, history, named)
    assert "-chat-" in asked(simulator)[-1]["user"]


async def test_looking_for_edits_can_be_switched_off(start_gateway: StartGateway, simulator: Simulator) -> None:
    chat = Chat(*[await start_gateway(simulator, CHECK_BRANCHES="false") for _ in range(2)])
    await chat.say("one [[n=2]]")
    chat.messages[0] = said("edited [[n=2]]")
    await chat.say("two [[n=2]]")
    await chat.say("three [[n=2]]")
    assert [bool(body.get("conversation_id")) for body in asked(simulator)] == [False, True, True]
    assert not [record for record in simulator.requests if record.path.endswith("/messages")]


async def test_chats_and_people_do_not_mix(gateway: Gateway, simulator: Simulator) -> None:
    chats = [
        Chat(gateway),
        Chat(gateway, chat="chat-2"),
        Chat(gateway, user="bob"),
        Chat(gateway, model="Demo Chatflow"),
    ]
    for chat in chats:
        await chat.say("one [[n=1]]")
    for chat in chats:
        await chat.say("two [[n=1]]")
    assert len(simulator.store.conversations) == 4
    assert len({body["user"] for body in asked(simulator)}) == 3


async def test_a_chat_whose_conversation_is_gone_is_healed(gateway: Gateway, simulator: Simulator) -> None:
    chat = Chat(gateway)
    await chat.say("My cat is Tom. [[n=2]]")
    simulator.store.conversations.clear()
    await chat.say("His name? [[n=1]]")
    assert "Tom" in simulator.runs[-1].query
    assert await count(gateway, 'gateway_memory_total{model="Demo Chatbot",outcome="healed"}') == 1
    await chat.say("And on. [[n=1]]")
    assert simulator.runs[-1].query == "And on. [[n=1]]"


async def test_the_headers_can_be_chosen(start_gateway: StartGateway, simulator: Simulator) -> None:
    gateway = await start_gateway(simulator, CHAT_ID_HEADERS="X-My-Chat", USER_HEADERS="X-My-User")
    await ask(gateway, [said("[[n=1]]")], {"X-My-Chat": "7", "X-My-User": "eve", "X-OpenWebUI-User-Id": "ann"})
    assert asked(simulator)[-1]["user"].startswith("eve-chat-")
    off = await start_gateway(simulator, CHAT_ID_HEADERS="none", USER_HEADERS="none")
    response = await ask(off, [said("[[n=1]]")], {"X-OpenWebUI-Chat-Id": "7", "X-OpenWebUI-User-Id": "ann"})
    assert asked(simulator)[-1]["user"] == "anonymous"
    assert zero_width.reveal(content_of(response))


@pytest.mark.parametrize("mode", ["none", "history"])
async def test_another_mode_does_not_look_at_the_chats_id(gateway: Gateway, simulator: Simulator, mode: str) -> None:
    headers = {"X-OpenWebUI-Chat-Id": "7", "X-User-Id": "ann", "X-Conversation-Memory": mode}
    await ask(gateway, [said("[[n=1]]")], headers)
    assert asked(simulator)[-1]["user"] == "ann"


@pytest.mark.parametrize(
    ("headers", "body", "user"),
    [
        ({}, {}, "anonymous"),
        ({"X-OpenWebUI-User-Email": "ann@example.org"}, {}, "ann@example.org"),
        ({"X-OpenWebUI-User-Id": "7", "X-OpenWebUI-User-Email": "ann@example.org"}, {}, "7"),
        ({"X-OpenWebUI-User-Id": "7"}, {"user": "ann"}, "ann"),
        ({"X-OpenWebUI-User-Id": "{{LIBRECHAT_USER_ID}}"}, {}, "anonymous"),
        ({"X-OpenWebUI-User-Id": ""}, {}, "anonymous"),
    ],
)
async def test_the_user_is_whom_the_client_names(
    gateway: Gateway, simulator: Simulator, headers: dict[str, str], body: dict[str, str], user: str
) -> None:
    await ask(gateway, [said("[[n=1]]")], headers, **body)
    assert asked(simulator)[-1]["user"] == user


# --- system text ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.15.3", "1.12.1"])
async def test_system_text_goes_into_the_apps_own_input(
    start_simulator: StartSimulator, start_gateway: StartGateway, version: str
) -> None:
    app = replace(DEMO_CHAT, key="app-role", name="Actor", form=(FormField("paragraph", "role"),))
    simulator = await start_simulator(version, apps=[app])
    gateway = await start_gateway(simulator, DIFY_API_KEYS="app-role?system=role")
    history: Messages = [{"role": "system", "content": "You are Lear."}, said("Who are you? [[n=1]]")]
    for _ in range(2):
        answer = content_of(await ask(gateway, history, model="Actor"))
        assert simulator.runs[-1].query == history[-1]["content"]
        assert simulator.runs[-1].inputs == {"role": "You are Lear."}
        history += [{"role": "assistant", "content": answer}, said("And now? [[n=1]]")]
    assert asked(simulator)[-1]["conversation_id"]
    history[0] = {"role": "system", "content": "You are Cordelia."}
    await ask(gateway, history, model="Actor")
    assert simulator.runs[-1].inputs == {"role": "You are Cordelia."}
    # A Dify that keeps the first turn's inputs cannot be told otherwise: it gets another conversation.
    assert bool(asked(simulator)[-1].get("conversation_id")) == (version != "0.15.3")
    assert "Lear" not in simulator.runs[-1].query


# --- side calls -------------------------------------------------------------------------------------------------------

TITLE = (
    "### Task:\nName this chat.\n### Guidelines:\n- Be brief.\n### Output:\n"
    'JSON format: {{ "title": "a name" }}\n### Chat History:\n<chat_history>\n{}\n</chat_history>'
)


@pytest.mark.parametrize("headers", [{}, {"X-OpenWebUI-Chat-Id": "7", "X-OpenWebUI-User-Id": "ann"}])
async def test_a_side_call_is_answered_apart_from_the_users_conversation(
    gateway: Gateway, simulator: Simulator, headers: dict[str, str]
) -> None:
    history = [said("My cat is Tom. [[n=2]]")]
    history.append({"role": "assistant", "content": content_of(await ask(gateway, history, headers))})
    response = await ask(gateway, [said(TITLE.format('USER: My cat is Tom. [[text="A cat"]]'))], headers)
    assert content_of(response) == "A cat"  # nothing hidden
    assert HEADER not in response.headers
    assert "conversation_id" not in response.json()
    assert not asked(simulator)[-1].get("conversation_id")
    assert await count(gateway, 'gateway_side_calls_total{kind="title"}') == 1
    await ask(gateway, [*history, said("His name? [[n=1]]")], headers)
    assert simulator.runs[-1].query == "His name? [[n=1]]"
    assert len(simulator.store.conversations) == 2


async def test_a_cheap_app_answers_side_calls(start_gateway: StartGateway, simulator: Simulator) -> None:
    gateway = await start_gateway(simulator, SIDE_CALL_MODEL="Demo Text Generator")
    response = await ask(gateway, [said(TITLE.format("USER: Hi [[n=2]]"))], inputs={"any": 1})
    assert (simulator.runs[-1].app.name, response.json()["model"]) == ("Demo Text Generator", "Demo Chatbot")
    lost = await start_gateway(simulator, SIDE_CALL_MODEL="None such")
    await ask(lost, [said(TITLE.format("USER: Hi [[n=2]]"))])
    assert simulator.runs[-1].app.name == "Demo Chatbot"


async def test_side_calls_can_be_left_alone(start_gateway: StartGateway, simulator: Simulator) -> None:
    gateway = await start_gateway(simulator, SIDE_CALLS="false")
    response = await ask(gateway, [said(TITLE.format("USER: Hi [[n=2]]"))])
    assert zero_width.reveal(content_of(response))
    assert await count(gateway, 'gateway_side_calls_total{kind="title"}') == 0


# --- repeated requests ------------------------------------------------------------------------------------------------


async def test_a_key_belongs_to_one_conversation_and_one_mode(gateway: Gateway) -> None:
    key = {"Idempotency-Key": "k-1"}
    named = (await ask(gateway, [said("Hi [[n=1]]")], key)).headers[HEADER]
    again = await ask(gateway, [said("Hi [[n=1]]")], key)
    assert again.headers[HEADER] == named
    for headers in ({HEADER: named}, {"X-Conversation-Memory": "none"}, {"X-OpenWebUI-Chat-Id": "7"}):
        body = {"model": "Demo Chatbot", "messages": [said("Hi [[n=1]]")]}
        response = await gateway.http.post("/v1/chat/completions", json=body, headers={**key, **headers})
        assert (response.status_code, response.json()["error"]["code"]) == (422, "idempotency_key_reused"), headers
