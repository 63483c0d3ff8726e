"""A chat as LangChain's users lead one; runs in that library's own environment and prints the answers as JSON.

Called with base URL, key and a JSON object: `model`, the `texts` that the user says, and whether to `stream`.
"""

import json
import sys

from langchain_core.messages import HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI

plan = json.loads(sys.argv[3])
chat = ChatOpenAI(base_url=sys.argv[1], api_key=sys.argv[2], model=plan["model"])


def answer(messages):
    """The answer as a message for the history: LangChain adds up the chunks of a stream."""
    if not plan["stream"]:
        return chat.invoke(messages)
    chunks = list(chat.stream(messages))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


messages = [SystemMessage("Be brief.")]
answers = []
for text in plan["texts"]:
    messages.append(HumanMessage(text))
    messages.append(answer(messages))
    answers.append(messages[-1].content)
print(json.dumps(answers))
