"""The files that an app makes: an agent's come as events, a flow's among its outputs and at its end.

Dify signs a file's link anew wherever it tells it, so the same file is known by its address without the signature. A
Dify without a public address (FILES_URL) signs relative links, which mean nothing to a client.
"""

from __future__ import annotations

import re
from typing import Any

from gateway.dify_api.streamed_text import mend_surrogates
from gateway.exchange.file_link import FileLink

LINKED = "/files/"  # what is in every text that links a file of Dify's
_ADDRESS = re.compile(r"/files/[\w./-]+")
_OWN_METHODS = ("tool_file", None)  # how Dify calls what is no upload of the user's; message_file events do not tell


class MadeFiles:
    """What one run has told of its files, and which of them its text shows."""

    def __init__(self, host: str) -> None:
        self._host = host  # of the Dify: scheme, name and port
        self._links: dict[str, FileLink] = {}
        self._own: set[str] = set()
        self._shown: set[str] = set()

    @property
    def links(self) -> tuple[FileLink, ...]:
        """Each file once, in the order in which they were told."""
        return tuple(self._links.values())

    @property
    def not_shown(self) -> tuple[FileLink, ...]:
        """What the app has made and no text shows."""
        return tuple(link for key, link in self._links.items() if key in self._own - self._shown)

    def note(self, file: Any, *, shown: bool = False) -> FileLink | None:
        """Take a file as Dify tells it; None if it is none, or known."""
        url = file.get("url") if isinstance(file, dict) else None
        if not isinstance(url, str) or not url or (key := _key(url)) in self._links:
            return None
        size = file.get("size")
        self._links[key] = FileLink(
            self._host + url if url.startswith("/") else url,
            _text(file.get("type")),
            _text(file.get("filename")),
            _text(file.get("mime_type")),
            size if type(size) is int and size >= 0 else None,
        )
        if file.get("transfer_method") in _OWN_METHODS:
            self._own.add(key)
        if shown:
            self._shown.add(key)
        return self._links[key]

    def note_all(self, files: Any) -> None:
        """Take a list of them."""
        for file in files if isinstance(files, list) else ():
            self.note(file)

    def show(self, text: str) -> str:
        """Take a piece of the answer's text; return it with links that work."""
        if LINKED not in text:
            return text
        self._shown.update(_ADDRESS.findall(text))
        return text.replace("](/files/", f"]({self._host}/files/")


def _key(url: str) -> str:
    found = _ADDRESS.search(url)
    return found[0] if found else url.partition("?")[0]


def _text(value: Any) -> str | None:
    return mend_surrogates(value) if isinstance(value, str) and value else None
