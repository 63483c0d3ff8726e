"""What users of Instructor do: typed answers in its modes; prints what came of it as JSON.

Called with base URL, key and a JSON object: `model`, and the questions `person_call`, `person_json`.
"""

import json
import sys

import instructor
from openai import OpenAI
from pydantic import BaseModel

base_url, key, plan = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
client = OpenAI(base_url=base_url, api_key=key, default_headers={"X-Conversation-Memory": "history"}, max_retries=0)


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def ask(mode, question):
    messages = [{"role": "user", "content": question}]
    typed = instructor.from_openai(client, mode=mode)
    answer = typed.chat.completions.create(model=plan["model"], response_model=Person, messages=messages, max_retries=0)
    return answer.model_dump()


def stream(question):
    typed = instructor.from_openai(client, mode=instructor.Mode.TOOLS)
    messages = [{"role": "user", "content": question}]
    *_, last = typed.chat.completions.create_partial(model=plan["model"], response_model=Person, messages=messages)
    return last.model_dump()


print(
    json.dumps(
        {
            "tools": ask(instructor.Mode.TOOLS, plan["person_call"]),
            "json": ask(instructor.Mode.JSON, plan["person_json"]),
            "markdown": ask(instructor.Mode.MD_JSON, plan["person_json"]),
            "schema": ask(instructor.Mode.JSON_SCHEMA, plan["person_json"]),
            "partial": stream(plan["partial_call"]),
        }
    )
)
