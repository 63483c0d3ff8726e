"""Memory mode 2: each chat stays in its own Dify conversation, on every node, whatever the client does to it."""

from __future__ import annotations

import asyncio
import json
import random
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest

from gateway.exchange.memory import legacy_token, zero_width
from tests.integration.conftest import Gateway, StartGateway, StartSimulator
from tests.simulator.server import Simulator


@pytest.fixture
def start_gateway(start_gateway: StartGateway) -> StartGateway:
    async def start(simulator: Simulator | None = None, **environ: str) -> Gateway:
        return await start_gateway(simulator, **{"CONVERSATION_MEMORY_MODE": "2", **environ})

    return start


Messages = list[dict[str, str]]


def said(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


async def answer(gateway: Gateway, messages: Messages, *, stream: bool = False, **more: Any) -> dict[str, str]:
    """The answer as the client would put it into its history."""
    body = {"model": more.pop("model", "Demo Chatbot"), "messages": messages, "stream": stream, **more}
    response = await gateway.http.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    if not stream:
        return {"role": "assistant", "content": response.json()["choices"][0]["message"]["content"]}
    frames = [frame.removeprefix("data: ") for frame in response.text.split("\n\n") if frame.startswith("data: {")]
    deltas = [json.loads(frame)["choices"][0]["delta"].get("content", "") for frame in frames]
    return {"role": "assistant", "content": "".join(deltas)}


class Chat:
    """A front end: keeps the history and sends it whole."""

    def __init__(self, *gateways: Gateway, **more: Any) -> None:
        self.gateways = gateways
        self.more = more
        self.messages: Messages = []

    async def say(self, text: str, *, stream: bool = False) -> str:
        gateway = self.gateways[len(self.messages) // 2 % len(self.gateways)]
        self.messages.append(said(text))
        self.messages.append(await answer(gateway, self.messages, stream=stream, **self.more))
        return zero_width.strip(self.messages[-1]["content"])


def conversations(simulator: Simulator) -> list[str | None]:
    """The conversation of every question so far; what asks for an app's mode has no query."""
    asked = (record.body for record in simulator.requests if record.path.endswith("/chat-messages"))
    return [body.get("conversation_id") for body in asked if body["query"]]


def model_saw(text: str) -> list[str]:
    """What `[[prompt]]` answers: every text that the model was sent."""
    return [message["content"] for message in json.loads(text)]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("model", ["Demo Chatbot", "Demo Agent", "Demo Chatflow"])
@pytest.mark.parametrize("version", ["0.15.3", "1.12.1", "1.16.0"])
async def test_a_chat_goes_on_in_its_conversation_on_every_node(
    start_simulator: StartSimulator, start_gateway: StartGateway, version: str, model: str, stream: bool
) -> None:
    simulator = await start_simulator(version)
    chat = Chat(await start_gateway(simulator), await start_gateway(simulator), model=model)
    for turn in range(4):
        await chat.say(f"turn {turn} [[n=3]]", stream=stream)
    first, *later = conversations(simulator)
    assert not first
    assert len(set(later)) == 1
    assert later[0]
    queries = [run.query for run in simulator.runs]
    assert queries == [f"turn {turn} [[n=3]]" for turn in range(4)]  # nothing is sent twice, nothing hidden is sent
    assert all(len(zero_width.reveal(message["content"])) == 1 for message in chat.messages[1::2])


async def test_many_chats_do_not_mix(start_gateway: StartGateway, simulator: Simulator) -> None:
    nodes = [await start_gateway(simulator) for _ in range(2)]

    async def chat(number: int) -> None:
        front_end = Chat(*random.sample(nodes, 2))
        for turn in range(4):
            await front_end.say(f"my word is {number} [[n=1]]" if turn == 0 else f"turn {turn} [[n=1]]")
        seen = model_saw(await front_end.say("what was it? [[prompt]]"))
        words = {text for text in seen if "my word is" in text}
        assert words == {f"my word is {number} [[n=1]]"} or all(str(number) in text.split() for text in words), words

    await asyncio.gather(*map(chat, range(30)))


async def test_a_regenerated_answer_starts_a_branch_with_the_history(gateway: Gateway, simulator: Simulator) -> None:
    chat = Chat(gateway)
    await chat.say("I am Ada. [[n=2]]")
    await chat.say("Tell a joke. [[n=2]]")
    chat.messages = chat.messages[:-2]  # the front end drops the last exchange …
    await chat.say("Tell a joke. [[n=3]]")  # … and asks again
    *_, branched = conversations(simulator)
    assert not branched
    assert "I am Ada." in simulator.runs[-1].query
    assert "w1 w2 w3" not in simulator.runs[-1].query
    await chat.say("And on. [[n=1]]")
    assert conversations(simulator)[-1] not in (None, "", *conversations(simulator)[:-1])


async def test_an_edited_history_starts_a_branch(gateway: Gateway, simulator: Simulator) -> None:
    chat = Chat(gateway)
    await chat.say("My cat is Tom. [[n=2]]")
    await chat.say("Fine. [[n=2]]")
    chat.messages[0]["content"] = "My cat is Kit. [[n=2]]"
    await chat.say("What is its name? [[n=1]]")
    assert not conversations(simulator)[-1]
    assert "Kit" in simulator.runs[-1].query
    assert "Tom" not in simulator.runs[-1].query


async def test_a_conversation_that_is_gone_is_healed(gateway: Gateway, simulator: Simulator) -> None:
    chat = Chat(gateway)
    await chat.say("My cat is Tom. [[n=2]]")
    await chat.say("Fine. [[n=2]]")
    simulator.store.conversations.clear()
    text = await chat.say("What is its name? [[n=3]]")
    assert text.split() == ["w1", "w2", "w3"]
    assert "Tom" in simulator.runs[-1].query
    metrics = (await gateway.http.get("/metrics")).text
    assert 'gateway_memory_total{model="Demo Chatbot",outcome="healed"} 1.0' in metrics
    await chat.say("Go on. [[n=1]]")
    assert simulator.runs[-1].query == "Go on. [[n=1]]"


CLIENTS: dict[str, tuple[Callable[[str], str], bool]] = {
    # what a client does to an answer it keeps → whether the conversation goes on
    "trims": (str.strip, True),
    "normalises": (lambda text: unicodedata.normalize("NFKC", text), True),
    "adds a line end": (lambda text: text + "\n", True),
    "drops zero-width characters": (lambda text: "".join(c for c in text if unicodedata.category(c) != "Cf"), True),
    "drops all that is invisible": (lambda text: text.encode("ascii", "ignore").decode(), False),
    "keeps a part": (lambda text: text[: len(text) - 20], False),
}


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_that_changes_the_text_loses_nothing(
    gateway: Gateway, simulator: Simulator, client: str
) -> None:
    change, goes_on = CLIENTS[client]
    chat = Chat(gateway)
    await chat.say("My cat is Tom. [[n=2]]")
    chat.messages[-1]["content"] = change(chat.messages[-1]["content"])
    await chat.say("What is its name? [[n=1]]")
    assert bool(conversations(simulator)[-1]) == goes_on
    assert ("Tom" in simulator.runs[-1].query) != goes_on  # in Dify's conversation, or in the query


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("sends_thoughts_back", [False, True])
async def test_thoughts_in_the_text_do_not_part_a_chat(
    start_gateway: StartGateway, simulator: Simulator, sends_thoughts_back: bool, stream: bool
) -> None:
    chat = Chat(await start_gateway(simulator, REASONING="inline"))
    await chat.say("My cat is Tom. [[n=2 think]]", stream=stream)
    assert chat.messages[-1]["content"].startswith("<think>")
    if not sends_thoughts_back:  # as Open WebUI and the AI SDK do, which tell them apart themselves
        chat.messages[-1]["content"] = chat.messages[-1]["content"].partition("</think>")[2].lstrip()
    await chat.say("His name? [[n=1]]")
    assert simulator.runs[-1].query == "His name? [[n=1]]"
    assert len(simulator.store.conversations) == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["Demo Chatbot", "Demo Agent", "Demo Chatflow"])
async def test_an_answer_that_was_ended_early_is_remembered(
    gateway: Gateway, simulator: Simulator, model: str, stream: bool
) -> None:
    chat = Chat(gateway, model=model, stop=["END"])
    await chat.say(f'Word? [[text="The word is plum. END{" and" * 50}" delay=0.02]]', stream=stream)
    async with asyncio.timeout(10):
        while simulator.runs[-1].state == "running":
            await asyncio.sleep(0.01)
    del chat.more["stop"]
    seen = model_saw(await chat.say("Which? [[prompt]]"))
    assert conversations(simulator)[-1]
    assert any(text.startswith("The word is plum.") for text in seen), seen


@pytest.mark.parametrize("smooth", ["on", "off"])
@pytest.mark.parametrize("directive", ["n=30", "unicode", "big=3000", "empty"])
async def test_a_token_is_never_cut(gateway: Gateway, smooth: str, directive: str) -> None:
    body = {"model": "Demo Chatbot", "messages": [said(f"Hi [[{directive}]]")], "stream": True}
    response = await gateway.http.post("/v1/chat/completions", json=body, headers={"X-Smooth-Streaming": smooth})
    frames = [frame.removeprefix("data: ") for frame in response.text.split("\n\n") if frame.startswith("data: {")]
    texts = [json.loads(frame)["choices"][0]["delta"].get("content", "") for frame in frames]
    assert [len(found) for text in texts if (found := zero_width.reveal(text))] == [1]
    assert not any(set(text) & set(zero_width.SYMBOLS) for text in texts if not zero_width.reveal(text))


async def test_a_token_is_worth_nothing_to_another_user_or_app(gateway: Gateway, simulator: Simulator) -> None:
    chat = Chat(gateway, user="ada")
    await chat.say("My secret is 42. [[n=2]]")
    stolen = [*chat.messages, said("What was said? [[n=1]]")]
    await answer(gateway, stolen, user="eve")
    await answer(gateway, stolen, user="ada", model="Demo Chatflow")
    assert [bool(one) for one in conversations(simulator)] == [False, False, False]


async def test_system_text_goes_first_and_again_when_it_changes(gateway: Gateway, simulator: Simulator) -> None:
    chat = Chat(gateway)
    chat.messages = []
    history: Messages = [{"role": "system", "content": "Be brief."}, said("Hello [[n=1]]")]
    history.append(await answer(gateway, history))
    assert simulator.runs[-1].query.startswith("Be brief.")
    history.append(said("Again [[n=1]]"))
    history.append(await answer(gateway, history))
    assert simulator.runs[-1].query == "Again [[n=1]]"
    history[0]["content"] = "Be long."
    history.append(said("More [[n=1]]"))
    await answer(gateway, history)
    assert simulator.runs[-1].query == "Be long.\n\nMore [[n=1]]"
    assert conversations(simulator)[-1]


@pytest.mark.parametrize("model", ["Demo Text Generator", "Demo Workflow"])
async def test_apps_without_conversations_get_plain_text(gateway: Gateway, simulator: Simulator, model: str) -> None:
    chat = Chat(gateway, model=model)
    await chat.say("one [[n=2]]")
    await chat.say("two [[n=2]]")
    assert not zero_width.reveal(chat.messages[-1]["content"])
    assert next(iter(simulator.runs[-1].inputs.values())) == "two [[n=2]]"


async def test_chats_of_opendify_go_on(start_gateway: StartGateway, simulator: Simulator) -> None:
    """Its conversations belong to `default_user`, and its token is the base64 of the id in eight characters."""
    plain = await start_gateway(simulator, CONVERSATION_MEMORY_MODE="0")
    await answer(plain, [said("My cat is Tom. [[n=2]]")], user="default_user")
    conversation = next(iter(simulator.store.conversations.values())).id
    number = int.from_bytes(conversation.encode(), "big")
    token = "".join(legacy_token.ALPHABET[number >> 3 * place & 7] for place in reversed(range(96)))
    gateway = await start_gateway(simulator)
    history: Messages = [said("My cat is Tom. [[n=2]]"), {"role": "assistant", "content": f"w1 w2 {token}"}]
    for text in ("What is its name? [[n=1]]", "And its age? [[n=1]]"):
        history.append(said(text))
        history.append(await answer(gateway, history))
        assert conversations(simulator)[-1] == conversation
        assert simulator.runs[-1].query == text
    strict = await start_gateway(simulator, READ_OPENDIFY_TOKENS="false")
    await answer(strict, [*history[:2], said("Hm? [[n=1]]")])
    assert not conversations(simulator)[-1]


async def test_the_check_for_branches_can_be_switched_off(start_gateway: StartGateway, simulator: Simulator) -> None:
    gateway = await start_gateway(simulator, CHECK_BRANCHES="false")
    chat = Chat(gateway)
    await chat.say("one [[n=2]]")
    await chat.say("two [[n=2]]")
    assert not [record for record in simulator.requests if record.path.endswith("/messages")]


@pytest.mark.parametrize("text", ['{"title": "A chat"}', "[1, 2]\n"])
async def test_an_answer_that_is_json_stays_json(gateway: Gateway, simulator: Simulator, text: str) -> None:
    chat = Chat(gateway)
    await chat.say(f"Give me JSON. [[text={json.dumps(text)}]]")
    assert json.loads(chat.messages[-1]["content"]) == json.loads(text)
    await chat.say("Again. [[n=1]]")
    assert "Give me JSON." in simulator.runs[-1].query


async def test_a_chat_goes_on_behind_an_answer_that_carries_nothing(
    start_gateway: StartGateway, simulator: Simulator
) -> None:
    chat = Chat(await start_gateway(simulator), await start_gateway(simulator))
    await chat.say("My cat is Tom. [[n=2]]")
    await chat.say('Give me JSON. [[text="[1]"]]')
    await chat.say("His name? [[n=1]]")
    assert simulator.runs[-1].query == "His name? [[n=1]]"
    assert len(simulator.store.conversations) == 1
    # … unless it is not what the conversation holds.
    chat.messages[3]["content"] = "[2]"
    chat.messages = chat.messages[:4]
    await chat.say("And now? [[n=1]]")
    assert "[2]" in simulator.runs[-1].query
    off = Chat(await start_gateway(simulator, CHECK_BRANCHES="false"))
    await off.say("one [[n=1]]")
    await off.say('JSON [[text="[1]"]]')
    await off.say("three [[n=1]]")
    assert "one [[n=1]]" in simulator.runs[-1].query
