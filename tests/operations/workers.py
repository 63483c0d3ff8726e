"""Clients that stream one answer after another and notice whatever goes wrong."""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import dataclass, field

import httpx

WORDS = 6  # of each answer


@dataclass
class Workers:
    """So many clients at a time, until `stop`."""

    base_url: str
    count: int = 40
    model: str = "Demo Chatbot"
    answered: list[str] = field(default_factory=list)  # ids of the questions
    lost: list[str] = field(default_factory=list)  # what became of the others

    async def __aenter__(self) -> Workers:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=self.count)
        self._http = httpx.AsyncClient(base_url=self.base_url, timeout=30, limits=limits, trust_env=False)
        self._stopped = False
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self.count)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopped = True
        try:
            async with asyncio.timeout(30):
                await asyncio.gather(*self._tasks)
        finally:
            await self._http.aclose()

    async def more(self, answers: int) -> None:
        """Wait until so many more are answered."""
        goal = len(self.answered) + answers
        async with asyncio.timeout(30):
            while len(self.answered) < goal:
                await asyncio.sleep(0.02)

    async def _work(self) -> None:
        while not self._stopped:
            question = uuid.uuid4().hex
            try:
                text = await self._ask(question)
            except (httpx.HTTPError, ValueError) as error:
                self.lost.append(f"{type(error).__name__} {error}")
                await asyncio.sleep(0.1)
            else:
                self.answered.append(question)
                if text != " ".join(f"w{number}" for number in range(1, WORDS + 1)):
                    self.lost.append(f"not the answer: {text[:200]!r}")

    async def _ask(self, question: str) -> str:
        """The answer's text. Raises ValueError where it is not whole."""
        content = f"{question} [[n={WORDS} delay=0.08]]"
        body = {"model": self.model, "stream": True, "user": question}
        body["messages"] = [{"role": "user", "content": content}]
        text, done = "", False
        headers = {"X-Conversation-Memory": "none"}  # nothing behind the text
        async with self._http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as response:
            if response.status_code != 200:
                raise ValueError(f"{response.status_code} {(await response.aread())[:200]!r}")
            async for line in response.aiter_lines():
                if line == "data: [DONE]":
                    done = True
                elif line.startswith("data: "):
                    chunk = json.loads(line[6:])
                    if "error" in chunk:
                        raise ValueError(line)
                    text += "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
        if not done:
            raise ValueError("the stream broke off")
        return text.strip()
