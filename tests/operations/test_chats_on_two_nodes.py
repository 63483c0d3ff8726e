"""Chats behind HAProxy that takes turns: every turn of a chat may meet the other of two gateways, and none forgets."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
import unicodedata
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from openai import OpenAI
from tornado.curl_httpclient import CurlAsyncHTTPClient

from gateway.exchange.memory import zero_width
from gateway.exchange.memory.thread import Outcome
from tests.operations.deployment import deployment
from tests.operations.gateways import ROOT
from tests.simulator.server import Simulator

pytestmark = [
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is missing (scripts/debian-packages)"),
    pytest.mark.asyncio(loop_scope="module"),  # one deployment for all: each takes longer to start than a test
]

TURNS_TAKEN = {"balance leastconn": "balance roundrobin"}
MODEL = "Demo Chatbot"

Messages = list[dict[str, str]]


@dataclass
class Nodes:
    """Two gateways behind one address, and a client of theirs."""

    base_url: str
    ports: list[int]
    curl: CurlAsyncHTTPClient  # httpx takes a third of the test's time
    simulator: Simulator
    before: Counter[str] = field(default_factory=Counter)  # what was counted by other tests

    async def answer(self, messages: Messages, headers: dict[str, str] | None = None) -> dict[str, str]:
        """The answer as a front end would put it into its history."""
        body = json.dumps({"model": MODEL, "messages": messages})
        headers = {"Content-Type": "application/json", **(headers or {})}
        url = f"{self.base_url}/v1/chat/completions"
        response = await self.curl.fetch(url, method="POST", body=body, headers=headers, request_timeout=100)
        return {"role": "assistant", "content": json.loads(response.body)["choices"][0]["message"]["content"]}

    async def counted(self, outcome: str) -> list[int]:
        """Turns with this outcome, for each node."""
        wanted = rf'^gateway_memory_total{{model="{MODEL}",outcome="{outcome}"}} (\S+)$'
        counts = []
        for port in self.ports:
            page = (await self.curl.fetch(f"http://127.0.0.1:{port}/metrics")).body.decode()
            found = re.search(wanted, page, re.MULTILINE)
            counts.append(int(float(found[1])) if found else 0)
        return [count - self.before[f"{outcome} {port}"] for count, port in zip(counts, self.ports, strict=True)]

    async def begin(self) -> None:
        """Forget what other tests did."""
        self.simulator.store.conversations.clear()
        self.before.clear()
        for outcome in Outcome:
            for port, count in zip(self.ports, await self.counted(outcome), strict=True):
                self.before[f"{outcome} {port}"] = count


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def all_nodes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Nodes]:
    curl = CurlAsyncHTTPClient(force_instance=True, max_clients=40)
    limits = {"STARTS_PER_SECOND": "10000", "QUEUE_SECONDS": "60", "QUEUE_LENGTH": "1000", "LOG_LEVEL": "warning"}
    directory = tmp_path_factory.mktemp("nodes")
    async with (
        Simulator("1.12.1") as simulator,
        deployment("haproxy", simulator, directory, TURNS_TAKEN, **limits) as (base_url, gateways),
    ):
        yield Nodes(base_url, [gateway.port for gateway in gateways], curl, simulator)
    curl.close()


@pytest_asyncio.fixture(loop_scope="module")
async def nodes(all_nodes: Nodes) -> Nodes:
    await all_nodes.begin()
    return all_nodes


def said(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def seen_by_model(answer: dict[str, str]) -> str:
    """What `[[prompt]]` answers: every text that the model was sent."""
    return "\n".join(message["content"] for message in json.loads(zero_width.strip(answer["content"])))


@pytest.mark.parametrize("named", [False, True], ids=["hidden token", "chat id"])
async def test_many_chats_remember_their_own_words_and_no_others(nodes: Nodes, named: bool) -> None:
    chats, turns = (200, 10) if not named else (40, 5)

    async def chat(number: int) -> None:
        headers = {"X-OpenWebUI-Chat-Id": f"chat {number}"} if named else {}
        history: Messages = []
        for turn in range(turns - 1):
            history.append(said(f"word-{number}-{turn}. [[n=1]]"))
            history.append(await nodes.answer(history, headers))
        history.append(said("What did I say? [[prompt]]"))
        words = re.findall(r"word-(\d+)-(\d+)\.", seen_by_model(await nodes.answer(history, headers)))
        assert words == [(str(number), str(turn)) for turn in range(turns - 1)]

    await asyncio.gather(*map(chat, range(chats)))
    assert len(nodes.simulator.store.conversations) == chats  # nothing was folded on the way
    started, continued = await nodes.counted("started"), await nodes.counted("continued")
    assert sum(started) == chats
    assert sum(continued) == chats * (turns - 1)
    assert min(continued) > chats * turns / 4  # both took their turns


def edit(history: Messages, turn: int) -> Messages:
    """The question of this turn is another one, and all behind it is gone."""
    return [*history[: 2 * turn], said(f"edited-{turn}. [[n=2]]")]


def rewrite(history: Messages, turn: int) -> Messages:
    """The question of this turn is another one, and all behind it is still there."""
    return [*history[: 2 * turn], said(f"edited-{turn}. [[n=2]]"), *history[2 * turn + 1 :], said("go on. [[n=2]]")]


def regenerate(history: Messages, turn: int) -> Messages:
    """The answer of this turn is to be given anew."""
    return history[: 2 * turn + 1]


def delete_last(history: Messages, turn: int) -> Messages:
    """This turn and all behind it are gone, and something else is said."""
    return [*history[: 2 * turn], said("instead. [[n=2]]")]


@pytest.mark.parametrize("change", [edit, rewrite, regenerate, delete_last])
async def test_a_change_at_any_turn_is_answered_from_what_the_client_shows(
    nodes: Nodes, change: Callable[[Messages, int], Messages]
) -> None:
    turns = 4

    async def chat(turn: int) -> None:
        history: Messages = []
        for number in range(turns):
            history.append(said(f"word-{number}. [[n=1]]"))
            history.append(await nodes.answer(history))
        history = change(history, turn)
        history.append(await nodes.answer(history))
        history.append(said("What did I say? [[prompt]]"))
        seen = seen_by_model(await nodes.answer(history))
        shown = [message["content"] for message in history if message["role"] == "user"]
        assert all(text in seen for text in shown)
        words = {message["content"] for message in history if message["content"].startswith("word-")}
        assert set(re.findall(r"word-\d+\. \[\[n=1\]\]", seen)) == words  # and no others

    await asyncio.gather(*map(chat, range(turns)))
    assert sum(await nodes.counted("branched")) + sum(await nodes.counted("started")) == 2 * turns


async def test_a_conversation_that_is_gone_is_healed_from_the_history(nodes: Nodes) -> None:
    history = [said("word-1. [[n=1]]")]
    history.append(await nodes.answer(history))
    nodes.simulator.store.conversations.clear()
    history.append(said("word-2. [[n=1]]"))
    history.append(await nodes.answer(history))
    history.append(said("What did I say? [[prompt]]"))
    seen = seen_by_model(await nodes.answer(history))
    assert re.findall(r"word-\d", seen) == ["word-1", "word-2"]
    assert sum(await nodes.counted("healed")) == 1


CLIENTS: dict[str, tuple[Callable[[str], str], str]] = {
    # what a client does to an answer it keeps → what becomes of its turns
    "trims": (str.strip, "continued"),
    "NFC": (lambda text: unicodedata.normalize("NFC", text), "continued"),
    "NFKC": (lambda text: unicodedata.normalize("NFKC", text), "continued"),
    "drops every zero-width character": (zero_width.strip, "folded"),
}


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_with_habits_of_its_own_is_remembered(nodes: Nodes, client: str) -> None:
    change, outcome = CLIENTS[client]
    history: Messages = []
    for number in range(3):
        history.append(said(f"word-{number}. [[unicode]]"))
        answer = await nodes.answer(history)
        history.append({**answer, "content": change(answer["content"])})
    history.append(said("What did I say? [[prompt]]"))
    assert re.findall(r"word-\d", seen_by_model(await nodes.answer(history))) == ["word-0", "word-1", "word-2"]
    assert sum(await nodes.counted(outcome)) == 3


# --- the same, led by the libraries that people use -------------------------------------------------------------------

TEXTS = [*(f"word-{number}. [[n=2]]" for number in range(4)), "What did I say? [[prompt]]"]


def openai_python(base_url: str, plan: dict[str, Any]) -> list[str]:
    with OpenAI(base_url=base_url, api_key="any", max_retries=0) as client:
        messages: list[Any] = [{"role": "system", "content": "Be brief."}]
        for text in plan["texts"]:
            messages.append(said(text))
            if plan["stream"]:
                with client.chat.completions.stream(model=plan["model"], messages=messages) as stream:
                    answer = stream.get_final_completion().choices[0].message
            else:
                answer = client.chat.completions.create(model=plan["model"], messages=messages).choices[0].message
            messages.append(answer)
        return [message.content for message in messages if not isinstance(message, dict)]


LIBRARIES: dict[str, tuple[Path, Path]] = {
    "langchain": (ROOT / ".venv-frameworks/bin/python", ROOT / "tests/conformance/clients/langchain_chat.py"),
    "ai sdk": (Path(sys.executable).parent / "node", ROOT / "tests/conformance/node/ai_sdk_chat.mjs"),
}


async def answers_to(library: str, base_url: str, plan: dict[str, Any]) -> list[str]:
    if library == "openai-python":
        return await asyncio.to_thread(openai_python, base_url, plan)
    interpreter, script = LIBRARIES[library]
    assert interpreter.exists(), f"{interpreter} is missing: scripts/test sets it up"
    process = await asyncio.create_subprocess_exec(
        *(interpreter, script, base_url, "any", json.dumps(plan)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin"},
    )
    async with asyncio.timeout(50):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    answers: list[str] = json.loads(output)
    return answers


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("library", ["openai-python", *LIBRARIES])
async def test_a_librarys_chat_goes_on_in_one_conversation(nodes: Nodes, library: str, stream: bool) -> None:
    plan = {"model": MODEL, "texts": TEXTS, "stream": stream}
    answers = await answers_to(library, f"{nodes.base_url}/v1", plan)
    assert [zero_width.strip(answer).split() for answer in answers[:-1]] == [["w1", "w2"]] * 4
    seen = seen_by_model({"content": answers[-1]})
    assert re.findall(r"word-\d", seen) == [f"word-{number}" for number in range(4)]
    assert seen.count("Be brief.") == 1
    assert len(nodes.simulator.store.conversations) == 1
    assert [sum(await nodes.counted(outcome)) for outcome in ("started", "continued")] == [1, 4]
