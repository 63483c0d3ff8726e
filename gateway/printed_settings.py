"""The settings as documents: .env.example and the README's table."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.settings import knobs


def env_example() -> str:
    """The text of .env.example."""
    lines = [
        "# Settings of the OpenDify gateway: copy to .env and change what you need.",
        "# Read as systemd reads an EnvironmentFile: no `export`, no comment behind a value, $ is only a dollar sign.",
    ]
    for name, declared in knobs():
        lines += ["", *_wrapped(declared.meaning), f"#{name}={declared.default}"]
    return "\n".join(lines) + "\n"


def _wrapped(meaning: str, width: int = 110) -> Iterator[str]:
    line = "#"
    for word in meaning.split():
        if len(line) + len(word) >= width:
            yield line
            line = "#"
        line += f" {word}"
    yield line


def settings_table() -> str:
    """The README's table of settings, in Markdown."""
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for name, declared in knobs():
        default = f"`{declared.default}`" if declared.default else ""
        rows.append(f"| `{name}` | {default} | {declared.meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(rows) + "\n"
