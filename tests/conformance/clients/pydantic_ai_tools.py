"""What users of Pydantic AI do with tools and typed answers; prints what came of it as JSON.

Called with base URL, key and a JSON object: `model`, and the questions `call`, `call_then_person`, `person_json`.
"""

import asyncio
import json
import sys

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, PromptedOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

base_url, key, plan = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
model = OpenAIChatModel(plan["model"], provider=OpenAIProvider(base_url=base_url, api_key=key))
SETTINGS = {"extra_headers": {"X-Conversation-Memory": "history"}}


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def weather(city: str) -> str:
    """The weather in a city."""
    return f"12 degrees in {city}"


async def ask(question, memory="history", **options):
    agent = Agent(model, model_settings={"extra_headers": {"X-Conversation-Memory": memory}}, **options)
    output = (await agent.run(question)).output
    return output.model_dump() if isinstance(output, Person) else output


async def stream(question):
    agent = Agent(model, tools=[weather], model_settings=SETTINGS)
    async with agent.run_stream(question) as result:
        return "".join([piece async for piece in result.stream_text(delta=True)])


async def main():
    outcome = {
        "history": await ask(plan["call"], tools=[weather]),
        "hidden": await ask(plan["call"], memory="hidden", tools=[weather]),
        "streamed": await stream(plan["call"]),
        "output tool": await ask(plan["call_then_person"], tools=[weather], output_type=Person),
        "native": await ask(plan["person_json"], output_type=NativeOutput(Person)),
        "prompted": await ask(plan["person_json"], output_type=PromptedOutput(Person)),
    }
    print(json.dumps(outcome))


asyncio.run(main())
