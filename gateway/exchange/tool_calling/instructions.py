"""What stands in front of a query so that the model can call the client's tools.

With every query, also where Dify's conversation has had it before: the tags are new each time, and an app may forget.
"""

from __future__ import annotations

from gateway.exchange.json_answers.json_text import write_json
from gateway.exchange.tool_calling.call_syntax import CallSyntax
from gateway.exchange.turn import JSONValue, ToolChoice, ToolSpec

_HOW = """\
You can call the tools below. They are run for you, and their results come with the next message. \
To call one, write exactly this, with the tool's name and arguments in its place:
{example}
Only these two tags work, copied letter by letter: not those of earlier messages, and no code block around them. \
The arguments are one JSON object that fits the tool's JSON Schema. {count}
After the call{s} end your message: wait for the result{s}, never invent one.
{must}

Tools:
{tools}"""

_SEVERAL = "To call several tools at once, write one such block after the other."
_ONE = "Call one tool at a time."
_MAY = "If no tool is needed, answer as usual, without a word about tools or tags."
_MUST = "This message must be answered by a call, without any other text."
_MUST_THIS = 'This message must be answered by a call of "{}", without any other text.'

_AGAIN = """\
Your last message could not be used:
{problems}
Write what is wrong again, corrected, and nothing else; what else you called is being run. The tools are {names}. \
A call is written exactly like this:
{example}{may}"""
_NONE_FITS = "\nIf none of them fits, answer in words instead."

_EXAMPLE = '{"name": "…", "arguments": {…}}'
_MOST_NAMES = 50  # of tools, in a second question


def instruct(choice: ToolChoice, syntax: CallSyntax) -> str:
    """The whole instruction."""
    must = _MAY
    if choice.required:
        must = _MUST if len(choice.tools) > 1 else _MUST_THIS.format(choice.tools[0].name)
    return _HOW.format(
        example=syntax.wrap(_EXAMPLE),
        count=_SEVERAL if choice.parallel else _ONE,
        s="s" if choice.parallel else "",
        must=must,
        tools="\n".join(_describe(tool) for tool in choice.tools),
    )


def ask_again(choice: ToolChoice, syntax: CallSyntax, problems: list[str]) -> str:
    """What is asked when the answer before cannot be used."""
    listed = "\n".join(f"- {problem}" for problem in problems)
    names = ", ".join(f'"{tool.name}"' for tool in choice.tools[:_MOST_NAMES])
    may = "" if choice.required else _NONE_FITS
    return _AGAIN.format(problems=listed, names=names, example=syntax.wrap(_EXAMPLE), may=may)


def _describe(tool: ToolSpec) -> str:
    told: dict[str, JSONValue] = {"name": tool.name}
    if tool.description:
        told["description"] = tool.description
    schema = tool.parameters or {"type": "object", "properties": {}}
    told["parameters"] = {word: value for word, value in schema.items() if word != "$schema"}  # for validators only
    return write_json(told)
