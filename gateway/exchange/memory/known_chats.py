"""What this node has seen of chats whose client names them. It may be gone, or old: other nodes go on with them."""

from __future__ import annotations

from collections import OrderedDict

from gateway.exchange.memory.hidden_token import HiddenToken

LONGEST = 10_000  # chats; each takes some 600 bytes

Name = tuple[str, ...]  # app key and Dify's user, and the conversation where the user has several


class KnownChats:
    """The last token of each chat; the longest unused are forgotten."""

    def __init__(self, longest: int = LONGEST) -> None:
        self._longest = longest
        self._tokens: OrderedDict[Name, HiddenToken] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tokens)

    def find(self, name: Name) -> HiddenToken | None:
        """What the chat's last answer here has left."""
        if (token := self._tokens.get(name)) is not None:
            self._tokens.move_to_end(name)
        return token

    def remember(self, name: Name, token: HiddenToken) -> None:
        """The chat has an answer."""
        self._tokens[name] = token
        self._tokens.move_to_end(name)
        if len(self._tokens) > self._longest:
            self._tokens.popitem(last=False)
