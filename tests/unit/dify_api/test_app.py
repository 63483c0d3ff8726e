"""What an app's mode says about it, and how little of its key is shown."""

from __future__ import annotations

import pytest

from gateway.dify_api.app import App, AppKey, AppMode
from gateway.exchange.model import InputField, Model


@pytest.mark.parametrize(
    ("mode", "is_flow", "takes_query"),
    [
        (AppMode.CHAT, False, True),
        (AppMode.AGENT_CHAT, False, True),
        (AppMode.AGENT, False, True),
        (AppMode.ADVANCED_CHAT, True, True),
        (AppMode.COMPLETION, False, False),
        (AppMode.WORKFLOW, True, False),
    ],
)
def test_a_mode_tells_how_to_ask(mode: AppMode, is_flow: bool, takes_query: bool) -> None:
    assert (mode.is_flow, mode.takes_query) == (is_flow, takes_query)


def test_of_a_key_only_its_end_is_shown() -> None:
    key = AppKey("app-SECRETsecret-wxyz", "http://dify/v1")
    assert key.hint == "…wxyz"
    assert "SECRET" not in repr(key)
    assert "SECRET" not in repr(App(key, "Demo", "Demo", AppMode.CHAT))


def test_an_app_is_a_model() -> None:
    fields = (InputField("topic", "text-input"),)
    app = App(AppKey("app-a", "http://dify/v1"), "demo-1", "Demo", AppMode.WORKFLOW, "Tells.", fields, 1_800_000_000)
    assert app.model() == Model("demo-1", 1_800_000_000, "Demo", "workflow", "Tells.", fields)
