"""A made file as a link in a text."""

from __future__ import annotations

import pytest

from gateway.exchange.file_link import FileLink


@pytest.mark.parametrize(
    ("link", "markdown"),
    [
        (FileLink("https://x/a", "image", "a.png"), "![a.png](https://x/a)"),
        (FileLink("https://x/a", "image"), "![image](https://x/a)"),
        (FileLink("https://x/a", "document", "a.pdf"), "[a.pdf](https://x/a)"),
        (FileLink("https://x/a"), "[file](https://x/a)"),
    ],
)
def test_images_are_shown_and_others_linked(link: FileLink, markdown: str) -> None:
    assert link.markdown == markdown
