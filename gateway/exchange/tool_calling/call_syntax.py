"""How a call is written: JSON between two tags. Models know the shape from their training (Hermes, Qwen).

    <tool_call_k3v9qx>
    {"name": "weather", "arguments": {"city": "Oslo"}}
    </tool_call_k3v9qx>

The tags have a random part for each request. A page, a file or a user that shows the model how a call looks cannot know
it, so a text that is quoted is never taken for a call.
"""

from __future__ import annotations

from gateway.exchange.json_answers.json_text import write_json
from gateway.exchange.turn import JSONValue
from gateway.frozen import frozen


@frozen
class CallSyntax:
    """The tags of one request. `mark` is their random part: letters and digits."""

    mark: str

    @property
    def opening(self) -> str:
        return f"<tool_call_{self.mark}>"

    @property
    def closing(self) -> str:
        return f"</tool_call_{self.mark}>"

    def write(self, name: str, arguments: JSONValue) -> str:
        """A call as a model is to write it. `arguments` is an object, or text where it is none."""
        return self.wrap(write_json({"name": name, "arguments": arguments}))

    def wrap(self, body: str) -> str:
        return f"{self.opening}\n{body}\n{self.closing}"
