"""What models write when they are told how to call tools: text, calls, and everything in between.

`[[` and `]]` stand for the tags of the request. Expected are the text that a client sees and the calls, each as its
name and its arguments; a call that cannot be used is None.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from gateway.exchange.tool_calling.call_syntax import CallSyntax
from gateway.exchange.turn import ToolSpec

SYNTAX = CallSyntax("k3v9qx")

TOOLS = (
    ToolSpec(
        "weather",
        "The weather in a city",
        {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    ),
    ToolSpec("clock"),
    ToolSpec("write_file", "", {"type": "object", "properties": {"path": {}, "content": {"type": "string"}}}),
)

Call = tuple[str, Any] | None


@dataclass(frozen=True, slots=True)
class Output:
    """One answer of a model."""

    about: str
    written: str
    said: str
    calls: tuple[Call, ...] = ()

    @property
    def text(self) -> str:
        return tagged(self.written)


def tagged(text: str) -> str:
    return text.replace("[[", SYNTAX.opening).replace("]]", SYNTAX.closing)


OSLO = ("weather", {"city": "Oslo"})
ROME = ("weather", {"city": "Rome"})
CLOCK = ("clock", {})
CALL_OSLO = '{"name": "weather", "arguments": {"city": "Oslo"}}'
CALL_ROME = '{"name": "weather", "arguments": {"city": "Rome"}}'
CODE = 'def f():\n    return "<tool_call>{}</tool_call>"\n'
LONG = "\n".join(f'line {number}: x < y && `z` {{ "a": [1] }} é 漢字 👩‍👩‍👧' for number in range(40))

CORPUS = (
    # --- text alone
    Output("text", "It is 12 degrees in Oslo.", "It is 12 degrees in Oslo."),
    Output("nothing", "", ""),
    Output("white space", " \n\n ", " \n\n "),
    Output("text after white space", "\n\n Hello", "\n\n Hello"),
    Output("code", f"Look:\n```python\n{CODE}```\nDone.", f"Look:\n```python\n{CODE}```\nDone."),
    Output("comparisons", "a < b, <b>bold</b>, a <tool, <tool_", "a < b, <b>bold</b>, a <tool, <tool_"),
    Output("a tag that breaks off", "So <tool_call_k3v9q", "So <tool_call_k3v9q"),
    Output("the tag in another case", "<Tool_Call_k3v9qx>{}", "<Tool_Call_k3v9qx>{}"),
    Output("JSON", CALL_OSLO, CALL_OSLO),
    Output("JSON in a fence", f"```json\n{CALL_OSLO}\n```", f"```json\n{CALL_OSLO}\n```"),
    Output("fences without end", "``` `` ```", "``` `` ```"),
    Output("a fence at the end", "see ```json\n", "see ```json\n"),
    Output("scripts", "日本語 👩‍👩‍👧‍👦 العربية \u2028 é", "日本語 👩‍👩‍👧‍👦 العربية \u2028 é"),
    # --- text that quotes calls
    Output("a quoted call", f"<tool_call>{CALL_OSLO}</tool_call>", f"<tool_call>{CALL_OSLO}</tool_call>"),
    Output("an old mark", f"<tool_call_zz>{CALL_OSLO}</tool_call_zz>", f"<tool_call_zz>{CALL_OSLO}</tool_call_zz>"),
    Output("a closing tag", "The end is ]] as told.", f"The end is {SYNTAX.closing} as told."),
    Output(
        "other protocols",
        '<function=weather>{"city":"Oslo"}</function>',
        '<function=weather>{"city":"Oslo"}</function>',
    ),
    # --- calls
    Output("a call", f"[[\n{CALL_OSLO}\n]]", "", (OSLO,)),
    Output("in one line", f"[[{CALL_OSLO}]]", "", (OSLO,)),
    Output("behind white space", f"\n \n[[{CALL_OSLO}]]\n\n", "", (OSLO,)),
    Output("pretty-printed", "[[\n" + json.dumps(json.loads(CALL_OSLO), indent=2) + "\n]]", "", (OSLO,)),
    Output("behind text", f"Let me look.\n\n[[\n{CALL_OSLO}\n]]", "Let me look.\n\n", (OSLO,)),
    Output("before text", f"[[{CALL_OSLO}]]\nI wait.", "\nI wait.", (OSLO,)),
    Output("amid text", f"One [[{CALL_OSLO}]] two [[{CALL_ROME}]] three", "One  two  three", (OSLO, ROME)),
    Output("several", f"[[\n{CALL_OSLO}\n]]\n[[\n{CALL_ROME}\n]]", "", (OSLO, ROME)),
    Output("several, close", f"[[{CALL_OSLO}]][[{CALL_ROME}]]", "", (OSLO, ROME)),
    Output("a tool without arguments", '[[{"name": "clock"}]]', "", (CLOCK,)),
    Output("arguments null", '[[{"name": "clock", "arguments": null}]]', "", (CLOCK,)),
    Output("text in braces", 'f(x) = {x} [[{"name":"clock","arguments":{}}]]', "f(x) = {x} ", (CLOCK,)),
    Output(
        "nested",
        '[[{"name":"write_file","arguments":{"path":{"a":[{"b":{}}]},"content":"}]{[\\"]]"}}]]'.replace(
            '\\"]]"', '\\"x"'
        ),
        "",
        (("write_file", {"path": {"a": [{"b": {}}]}, "content": '}]{["x'}),),
    ),
    Output(
        "scripts in arguments",
        '[[{"name":"weather","arguments":{"city":"東京 🗼 é"}}]]',
        "",
        (("weather", {"city": "東京 🗼 é"}),),
    ),
    Output(
        "half a character", '[[{"name":"weather","arguments":{"city":"\\ud83d"}}]]', "", (("weather", {"city": "?"}),)
    ),
    Output(
        "a file",
        f"[[{json.dumps({'name': 'write_file', 'arguments': {'path': 'a', 'content': LONG}})}]]",
        "",
        (("write_file", {"path": "a", "content": LONG}),),
    ),
    Output(
        "a quoted call in arguments",
        '[[{"name":"write_file","arguments":{"content":"<tool_call>{}</tool_call>"}}]]',
        "",
        (("write_file", {"content": "<tool_call>{}</tool_call>"}),),
    ),
    # --- calls as models write them
    Output("in a fence", f"```json\n[[\n{CALL_OSLO}\n]]\n```", "", (OSLO,)),
    Output("in a fence behind text", f"Look:\n```\n[[{CALL_OSLO}]]\n```\nSo.", "Look:\n\nSo.", (OSLO,)),
    Output("in a fence behind a call", f"[[{CALL_OSLO}]]\n```json\n[[{CALL_ROME}]]\n```", "", (OSLO, ROME)),
    Output("braces behind a call", f"[[{CALL_OSLO}]] {{x}}", " {x}", (OSLO,)),
    Output("with a fence inside", f"[[\n```json\n{CALL_OSLO}\n```\n]]", "", (OSLO,)),
    Output("two in a fence", f"```xml\n[[{CALL_OSLO}]]\n[[{CALL_ROME}]]\n```", "", (OSLO, ROME)),
    Output("not closed", f"[[\n{CALL_OSLO}", "", (OSLO,)),
    Output("not closed, then another", f"[[\n{CALL_OSLO}\n[[\n{CALL_ROME}\n", "", (OSLO, ROME)),
    Output("half closed", f"[[{CALL_OSLO}</tool_call_k3", "", (OSLO,)),
    Output("another half begun", f"[[{CALL_OSLO}]]\n<tool_ca", "\n<tool_ca", (OSLO,)),
    Output("closed without the mark", f"[[{CALL_OSLO}</tool_call>\n[[{CALL_ROME}]]", "", (OSLO, ROME)),
    Output("two between one pair", f"[[\n{CALL_OSLO}\n{CALL_ROME}\n]]", "", (OSLO, ROME)),
    Output("a list", f"[[[{CALL_OSLO}, {CALL_ROME}]]]".replace("[[[", "[[ [").replace("]]]", "] ]]"), "", (OSLO, ROME)),
    Output("braces missing at the end", '[[{"name": "weather", "arguments": {"city": "Oslo"]]', "", (OSLO,)),
    Output(
        "braces missing behind a word",
        '[[{"name": "write_file", "arguments": {"path": True]]',
        "",
        (("write_file", {"path": True}),),
    ),
    Output("words of Python", '[[{"name": "clock", "arguments": None}]]', "", (CLOCK,)),
    Output(
        "brackets in single quotes",
        "[[{'name': 'write_file', 'arguments': {'content': 'True,] :]'}}]]",
        "",
        (("write_file", {"content": "True,] :]"}),),
    ),
    Output("cut off", '[[{"name": "weather", "arguments": {"city": "Oslo', "", (OSLO,)),
    Output("single quotes", "[[{'name': 'weather', 'arguments': {'city': 'Oslo'}}]]", "", (OSLO,)),
    Output("bare names, a last comma", '[[{name: "weather", arguments: {city: "Oslo",},}]]', "", (OSLO,)),
    Output(
        "a line break in a string",
        '[[{"name":"weather","arguments":{"city":"Os\nlo"}}]]',
        "",
        (("weather", {"city": "Os\nlo"}),),
    ),
    Output(
        "a lone backslash",
        r'[[{"name":"write_file","arguments":{"path":"C:\dir\'s"}}]]',
        "",
        (("write_file", {"path": "C:\\dir's"}),),
    ),
    Output("other words", '[[{"tool": "weather", "parameters": {"city": "Oslo"}}]]', "", (OSLO,)),
    Output(
        "as OpenAI writes it",
        '[[{"type":"function","id":"c","function":{"name":"weather","arguments":"{\\"city\\":\\"Oslo\\"}"}}]]',
        "",
        (OSLO,),
    ),
    Output("encoded twice", '[[{"name":"weather","arguments":"{\\"city\\": \\"Oslo\\"}"}]]', "", (OSLO,)),
    Output("flat", '[[{"name":"weather","city":"Oslo"}]]', "", (OSLO,)),
    Output("a prefix and another case", '[[{"name":"functions.Weather","arguments":{"city":"Oslo"}}]]', "", (OSLO,)),
    Output("the name before", '[[weather\n{"city": "Oslo"}]]', "", (OSLO,)),
    Output("begun anew", f'[[{{"name": "wea[[{CALL_OSLO}]]', "", (OSLO,)),
    Output("a fence of an odd language", f"```tool-call\n[[\n{CALL_OSLO}\n]]\n```", "", (OSLO,)),
    Output("a bracket too many", f"[[{CALL_OSLO}}}\n]]\n[[{CALL_ROME}]}}]]\nSo.", "\nSo.", (OSLO, ROME)),
    Output("a bracket too many, not closed", f"[[{CALL_OSLO}}}", "", (OSLO,)),
    Output("a comma between", f"[[\n{CALL_OSLO},\n{CALL_ROME}\n]]", "", (OSLO, ROME)),
    Output("closed by its beginning", f"[[\n{CALL_OSLO}\n[[", "", (OSLO,)),
    Output("closed by its beginning, then text", f"[[\n{CALL_OSLO}\n[[\nSo.", "\nSo.", (OSLO,)),
    Output("closed like another protocol", f"[[{CALL_OSLO}</function>\n]]\nSo.", "\nSo.", (OSLO,)),
    Output("closed with an old mark", f"[[{CALL_OSLO}\n</tool_call_zz>\nSo.", "\nSo.", (OSLO,)),
    Output("half closed like another protocol", f"[[{CALL_OSLO}\n</func", "", (OSLO,)),
    Output("as a call of Python", '[[weather({"city": "Oslo"})]]', "", (OSLO,)),
    Output("as other protocols write it", '[[<function=weather>{"city": "Oslo"}</function>]]', "", (OSLO,)),
    Output("name and arguments in lines", '[[\nname: weather\narguments: {"city": "Oslo"}\n]]', "", (OSLO,)),
    Output("only a name", "[[clock]]", "", (CLOCK,)),
    Output("only a name, as a call of Python", "[[\nclock()\n]]", "", (CLOCK,)),
    Output("only a name, not closed", "[[clock\n", "", (CLOCK,)),
    Output("a wrapped list", f'[[{{"tool_calls": [{CALL_OSLO}, {CALL_ROME}]}}]]', "", (OSLO, ROME)),
    Output("a wrapped call", f'[[{{"tool_call": {CALL_OSLO}}}]]', "", (OSLO,)),
    Output("the name as the only field", '[[{"weather": {"city": "Oslo"}}]]', "", (OSLO,)),
    Output("a name in another style", '[[{"name":"write-file","arguments":{}}]]', "", (("write_file", {}),)),
    Output("a name in camel case", '[[{"name":"writeFile","arguments":{}}]]', "", (("write_file", {}),)),
    Output("a numbered name", '[[{"name":"functions.clock:0","arguments":{}}]]', "", (CLOCK,)),
    Output("words of agents", '[[{"action":"weather","action_input":{"city":"Oslo"}}]]', "", (OSLO,)),
    Output(
        "encoded thrice",
        json.dumps({"name": "weather", "arguments": '"{\\"city\\": \\"Oslo\\"}"'}).join(("[[", "]]")),
        "",
        (OSLO,),
    ),
    Output("arguments in a list", '[[{"name":"weather","arguments":[{"city":"Oslo"}]}]]', "", (OSLO,)),
    Output("no arguments in a list", '[[{"name":"clock","arguments":[]}]]', "", (CLOCK,)),
    Output(
        "a number as text",
        '[[{"name":"weather","arguments":{"city":"Oslo","days":"3"}}]]',
        "",
        (("weather", {"city": "Oslo", "days": 3}),),
    ),
    Output("null for nothing", '[[{"name":"weather","arguments":{"city":"Oslo","days":null}}]]', "", (OSLO,)),
    # --- calls that cannot be used
    Output("no JSON", "[[weather in Oslo]]", "", (None,)),
    Output("empty", "[[]]", "", (None,)),
    Output("a word about a tool", "[[ but no clock is needed", "", (None,)),
    Output("a name without what it needs", "[[weather]]", "", (None,)),
    Output(
        "a string in three quotes",
        '[[{"name":"write_file","arguments":{"path":"a","content":"""x = "1"\ny"""}}]]',
        "",
        (None,),
    ),
    Output("a number that is none", '[[{"name":"weather","arguments":{"city":"Oslo","days":"3 days"}}]]', "", (None,)),
    Output("nothing behind the tag", "So: [[", "So: ", (None,)),
    Output("an empty list", "[[ [] ]]", "", (None,)),
    Output("an unknown tool", '[[{"name":"radar","arguments":{}}]] Hm.', " Hm.", (None,)),
    Output("no name", '[[{"arguments":{"city":"Oslo"}}]]', "", (None,)),
    Output("a wrong type", '[[{"name":"weather","arguments":{"city":5}}]]', "", (None,)),
    Output("one missing", '[[{"name":"weather","arguments":{}}]]', "", (None,)),
    Output("one too many", '[[{"name":"weather","arguments":{"city":"Oslo","zip":1}}]]', "", (None,)),
    Output("infinity", '[[{"name":"write_file","arguments":{"path":1e999}}]]', "", (None,)),
    Output("one good, one bad", f'[[{CALL_OSLO}]][[{{"name":"weather"}}]]', "", (OSLO, None)),
)
