"""Which texts end inside of a fenced block of code, and in which line."""

from __future__ import annotations

import pytest

from gateway.exchange.thoughts.code_fence import MarkdownPlace


def place(text: str, size: int) -> MarkdownPlace:
    found = MarkdownPlace()
    for start in range(0, len(text), size):
        found.feed(text[start : start + size])
    return found


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    ("text", "in_code", "line"),
    [
        ("", False, ""),
        ("plain", False, "plain"),
        ("```\n", True, ""),
        ("```python\nx = 1\n  y", True, "  y"),
        ("```\nx\n```\n", False, ""),
        ("```", False, "```"),
        ("````\n```\n", True, ""),
        ("```\n````\n", False, ""),
        ("~~~\n```\n", True, ""),
        ("~~~\n~~~ \n", False, ""),
        ("```\n``` not an end\n", True, ""),
        ("   ```\n", True, ""),
        ("    ```\n", False, ""),
        ("``` a ``` b\n", False, ""),
        ("a\n" * 400 + "```\nb", True, "b"),
        ("```\n" + "x" * 5000 + "\n```\nend", False, "end"),
    ],
)
def test_where_a_text_ends(text: str, in_code: bool, line: str, size: int) -> None:
    found = place(text, size)
    assert (found.in_code, found.line) == (in_code, line)


def test_a_long_line_keeps_its_ends() -> None:
    line = place("begin" + "x" * 100_000 + "end", 50).line
    assert line.startswith("begin")
    assert line.endswith("end")
    assert len(line) < 1000
