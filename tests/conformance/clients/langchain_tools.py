"""What users of LangChain do with tools and typed answers; prints what came of it as JSON.

Called with base URL, key and a JSON object: `model`, and the questions `call`, `person_call`, `person_json`.
"""

import json
import sys

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

base_url, key, plan = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])


class Person(BaseModel):
    """A person."""

    name: str
    age: int


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"12 degrees in {city}"


def chat(memory):
    headers = {"X-Conversation-Memory": memory}
    return ChatOpenAI(model=plan["model"], base_url=base_url, api_key=key, default_headers=headers, max_retries=0)


def loop(memory, streamed):
    """bind_tools, by the loop of LangChain's guide."""
    llm = chat(memory).bind_tools([weather])
    messages = [HumanMessage(plan["call"])]
    for _ in range(3):
        if streamed:
            answer = None
            for chunk in llm.stream(messages):
                answer = chunk if answer is None else answer + chunk
        else:
            answer = llm.invoke(messages)
        messages.append(answer)
        if not answer.tool_calls:
            return answer.content
        messages += [ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"]) for call in answer.tool_calls]
    return "no end"


def typed(method, question):
    return chat("history").with_structured_output(Person, method=method).invoke(question).model_dump()


print(
    json.dumps(
        {
            "loops": {
                f"{memory} {streamed}": loop(memory, streamed)
                for memory in ("history", "hidden")
                for streamed in (False, True)
            },
            "function_calling": typed("function_calling", plan["person_call"]),
            "json_schema": typed("json_schema", plan["person_json"]),
            "json_mode": typed("json_mode", plan["person_json"]),
        }
    )
)
