"""The settings as documents name every knob and its default."""

from __future__ import annotations

from gateway.env_file import parse_env_file
from gateway.load_settings import load_settings
from gateway.printed_settings import env_example, settings_table
from gateway.settings import knobs

NAMES = [name for name, _ in knobs()]


def test_the_example_names_every_knob_in_comments() -> None:
    text = env_example()
    lines = text.splitlines()
    assert all(not line or line.startswith("#") for line in lines)
    assert [
        line[1:].partition("=")[0] for line in lines if line.startswith("#") and line[1:2] not in (" ", "")
    ] == NAMES
    assert all(len(line) <= 120 for line in lines)
    assert not any(line.endswith("\\") for line in lines)  # a comment would go on in the next line
    assert parse_env_file(text).values == {}
    assert text.endswith("\n")


def test_the_example_without_its_comment_signs_is_the_defaults() -> None:
    lines = env_example().splitlines()
    text = "\n".join(line[1:] if line.startswith("#") and line[1:2] != " " else line for line in lines)
    found = parse_env_file(text)
    assert found.values == {name: knob.default for name, knob in knobs()}
    assert found.ignored == []
    assert load_settings(found.values) == load_settings({})


def test_the_table_has_a_row_for_every_knob() -> None:
    head, line, *rows = settings_table().splitlines()
    assert (head, line) == ("| setting | default | meaning |", "|---|---|---|")
    for row, (name, knob) in zip(rows, knobs(), strict=True):
        cells = [cell.strip() for cell in row.strip("|").replace("\\|", "¦").split("|")]
        assert cells == [f"`{name}`", f"`{knob.default}`" if knob.default else "", knob.meaning.replace("|", "¦")]
