"""What users of openai-python 0.28 do; runs in that version's own environment and prints what came of it as JSON.

Called with base URL, key and a JSON object: `models` to ask, `names` to look up.
"""

import asyncio
import contextlib
import io
import json
import sys

import openai

openai.api_base, openai.api_key, plan = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])


def question(text):
    return [{"role": "user", "content": text}]


def readme_loop(model, text="[[n=5]]"):
    """As OpenDify's README has it; everything that was printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        response = openai.ChatCompletion.create(model=model, messages=question(text), stream=True)
        try:
            for chunk in response:
                print(chunk.choices[0].delta.content or "", end="")
        except openai.error.OpenAIError as error:
            print(f" and then {type(error).__name__}", end="")
    return printed.getvalue()


def whole(model):
    answer = openai.ChatCompletion.create(model=model, messages=question("[[n=5]]"))
    return answer.choices[0].message.content


async def loop_async(model):
    stream = await openai.ChatCompletion.acreate(model=model, messages=question("[[n=5]]"), stream=True)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


def failure(call):
    try:
        call()
    except openai.error.OpenAIError as error:
        return [type(error).__name__, error.http_status, error.json_body["error"]["code"]]
    return None


def look_up(name):
    try:
        return openai.Model.retrieve(name).id
    except openai.error.OpenAIError as error:
        return str(error)


def ask(**fields):
    return lambda: openai.ChatCompletion.create(**{"model": plan["models"][0], "messages": question("x"), **fields})


WEATHER = {
    "name": "weather",
    "description": "The weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def functions_loop(streamed):
    """The loop of the time before tools: one function call, then its result."""
    messages = question('How is it? [[call="weather {\\"city\\": \\"Oslo\\"}"]]')
    asked = {"model": plan["models"][0], "functions": [WEATHER]}
    if streamed:
        called = {"name": "", "arguments": ""}
        for chunk in openai.ChatCompletion.create(messages=messages, stream=True, **asked):
            for field, text in chunk.choices[0].delta.get("function_call", {}).items():
                called[field] += text
        assert chunk.choices[0].finish_reason == "function_call"
        messages.append({"role": "assistant", "content": None, "function_call": called})
    else:
        messages.append(openai.ChatCompletion.create(messages=messages, **asked).choices[0].message)
        called = messages[-1].function_call
    city = json.loads(called["arguments"])["city"]
    messages.append({"role": "function", "name": called["name"], "content": f"12 degrees in {city}"})
    return openai.ChatCompletion.create(messages=messages, **asked).choices[0].message.content


outcome = {
    "functions": [functions_loop(streamed) for streamed in (False, True)],
    "listed": [model.id for model in openai.Model.list().data],
    "found": {name: look_up(name) for name in plan["names"]},
    "streamed": {model: readme_loop(model) for model in plan["models"]},
    "whole": {model: whole(model) for model in plan["models"]},
    "async": asyncio.run(loop_async(plan["models"][0])),
    "broken": readme_loop(plan["models"][0], "[[n=5 fail=500 failafter=3]]"),
    "failures": {
        "key": failure(lambda: openai.Model.list(api_key="any")),
        "model": failure(ask(model="none such")),
        "messages": failure(ask(messages=[])),
        "provider": failure(ask(messages=question("[[fail=500]]"))),
        "limit": failure(ask(messages=question("[[http=limit]]"))),
    },
}
print(json.dumps(outcome))
