"""What an app's mode says about it, and how little of its key is shown."""

from __future__ import annotations

import pytest

from gateway.dify_api.app import App, AppKey, AppMode
from gateway.exchange.model import InputField, Model


@pytest.mark.parametrize(
    ("mode", "takes_query", "has_conversations"),
    [
        (AppMode.CHAT, True, True),
        (AppMode.AGENT_CHAT, True, True),
        (AppMode.AGENT, True, True),
        (AppMode.ADVANCED_CHAT, True, True),
        (AppMode.COMPLETION, False, False),
        (AppMode.WORKFLOW, False, False),
    ],
)
def test_a_mode_tells_how_to_ask(mode: AppMode, takes_query: bool, has_conversations: bool) -> None:
    assert (mode.takes_query, mode.has_conversations) == (takes_query, has_conversations)


@pytest.mark.parametrize(
    ("base_url", "host"),
    [
        ("https://api.dify.ai/v1", "https://api.dify.ai"),
        ("http://dify.lan:8080/some/where/v1", "http://dify.lan:8080"),
        ("http://[::1]:5001/v1", "http://[::1]:5001"),
        ("http://dify", "http://dify"),
    ],
)
def test_keys_of_one_server_share_its_host(base_url: str, host: str) -> None:
    assert AppKey("app-a", base_url).host == host


def test_of_a_key_only_its_end_is_shown() -> None:
    key = AppKey("app-SECRETsecret-wxyz", "http://dify/v1")
    assert key.hint == "…wxyz"
    assert "SECRET" not in repr(key)
    assert "SECRET" not in repr(App(key, "Demo", "Demo", AppMode.CHAT))


def test_an_app_is_a_model() -> None:
    fields = (InputField("topic", "text-input"),)
    app = App(AppKey("app-a", "http://dify/v1"), "demo-1", "Demo", AppMode.WORKFLOW, "Tells.", fields, 1_800_000_000)
    assert app.model() == Model("demo-1", 1_800_000_000, "Demo", "workflow", "Tells.", fields)
