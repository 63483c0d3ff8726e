"""What stands behind a key's question mark."""

from __future__ import annotations

import pytest

from gateway.exchange.hold_back import Moderation
from gateway.exchange.smoothing import Smoothing
from gateway.exchange.thoughts.reasoning import Reasoning
from gateway.key_options import memory_option, moderation_option, parse_options, reasoning_option, smooth_option

KNOWN = {
    "memory": ("memory_mode", memory_option),
    "smooth": ("smoothing", smooth_option),
    "reasoning": ("reasoning", reasoning_option),
    "moderation": ("moderation", moderation_option),
}


@pytest.mark.parametrize(
    ("written", "options"),
    [
        ("", {}),
        ("memory=1", {"memory_mode": 1}),
        ("smooth=off&memory=2", {"smoothing": Smoothing.OFF, "memory_mode": 2}),
        ("smooth=%6Fn", {"smoothing": Smoothing.ON}),
        ("moderation=buffer", {"moderation": Moderation.BUFFER}),
        ("reasoning=drop", {"reasoning": Reasoning.DROP}),
    ],
)
def test_options_become_fields(written: str, options: dict[str, object]) -> None:
    assert parse_options(written, KNOWN) == options


@pytest.mark.parametrize(
    "written",
    [
        "reasoning=loud",
        "moderation=never",
        "memory=",
        "memory=+1",
        "memory=x",
        "smooth=ON?",
        "other=1",
        "smooth=on&smooth=on",
    ],
)
def test_what_is_wrong_is_not_repeated(written: str) -> None:
    with pytest.raises(ValueError, match=r"memory|smooth|reasoning|moderation|unknown"):
        parse_options(written, KNOWN)
