"""The files that an app makes: known once, with links that work, shown or not."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.dify_api.made_files import MadeFiles
from gateway.exchange.file_link import FileLink

HOST = "https://dify.example"
PNG: dict[str, Any] = {
    "dify_model_identity": "__dify__file__",
    "tenant_id": "t",
    "type": "image",
    "transfer_method": "tool_file",
    "filename": "a.png",
    "mime_type": "image/png",
    "size": 12,
    "url": "/files/tools/0a1b.png?timestamp=1&sign=2",
}


def test_a_file_is_told_with_all_that_is_known_of_it() -> None:
    files = MadeFiles(HOST)
    link = FileLink(f"{HOST}/files/tools/0a1b.png?timestamp=1&sign=2", "image", "a.png", "image/png", 12)
    assert files.note(PNG) == link
    assert files.links == files.not_shown == (link,)
    event = {"type": "document", "belongs_to": "assistant", "url": "https://s3.example/f.pdf?x=1"}
    assert files.note(event) == FileLink("https://s3.example/f.pdf?x=1", "document")


def test_a_file_that_is_signed_anew_is_the_same() -> None:
    files = MadeFiles(HOST)
    files.note(PNG)
    assert files.note({**PNG, "url": f"{HOST}/files/tools/0a1b.png?timestamp=9&sign=8"}) is None
    files.note_all([PNG, {**PNG, "url": "/files/tools/other.png"}, None, "x"])
    assert len(files.links) == 2


@pytest.mark.parametrize("odd", [None, [], "x", {}, {"url": None}, {"url": ""}, {"url": 5}])
def test_what_is_no_file_is_none(odd: Any) -> None:
    files = MadeFiles(HOST)
    assert files.note(odd) is None
    files.note_all(odd)
    assert files.links == ()


def test_odd_details_are_left_out() -> None:
    odd = {"url": "/files/a", "type": 5, "filename": "", "mime_type": None, "size": -1}
    assert MadeFiles(HOST).note(odd) == FileLink(f"{HOST}/files/a")


def test_what_a_text_shows_is_shown_whether_it_comes_before_or_after() -> None:
    files = MadeFiles(HOST)
    assert files.show("See ![a.png](/files/tools/0a1b.png?timestamp=5) here") == (
        f"See ![a.png]({HOST}/files/tools/0a1b.png?timestamp=5) here"
    )
    files.note(PNG)
    assert files.not_shown == ()
    later = {**PNG, "url": "/files/tools/later.png"}
    files.note(later)
    assert [link.name for link in files.not_shown] == ["a.png"]
    files.show(f"![a]({HOST}/files/tools/later.png)")
    assert files.not_shown == ()
    files.note({**PNG, "url": "/files/tools/event.png"}, shown=True)
    assert files.not_shown == ()


def test_what_the_user_has_sent_is_told_but_need_not_be_shown() -> None:
    files = MadeFiles(HOST)
    files.note({**PNG, "transfer_method": "local_file"})
    assert (len(files.links), files.not_shown) == (1, ())


def test_a_text_without_links_stays_the_very_same() -> None:
    text = "no link"
    assert MadeFiles(HOST).show(text) is text
