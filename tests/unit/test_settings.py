"""Every knob has a meaning and a good default."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gateway.exchange.details import Details
from gateway.exchange.hold_back import Moderation
from gateway.exchange.smoothing import Smoothing
from gateway.exchange.thoughts.reasoning import Reasoning
from gateway.load_settings import load_settings
from gateway.settings import knobs

NAMES = [name for name, _ in knobs()]
DEFAULTS: dict[str, Any] = {
    "dify_api_keys": "",
    "dify_api_base": "",
    "app_refresh_seconds": 60.0,
    "ca_file": "",
    "upstream_http2": False,
    "upstream_proxy": "",
    "server_host": "127.0.0.1",
    "server_port": 5000,
    "valid_api_keys": (),
    "allow_anonymous": False,
    "cors_allow_origin": "*",
    "max_body_bytes": 32 * 1024 * 1024,
    "unready_seconds": 3.0,
    "shutdown_seconds": 30.0,
    "max_connections": 0,
    "max_streams": 5000,
    "max_streams_per_dify": 1000,
    "queue_length": 100,
    "queue_seconds": 5.0,
    "starts_per_second": 2000.0,
    "reasoning": Reasoning.FIELD,
    "workflow_progress": False,
    "upload_timeout": 120.0,
    "upload_cache_seconds": 3600.0,
    "upload_cache_files": 10_000,
    "dify_details": Details.OFF,
    "moderation": Moderation.STREAM,
    "characters_per_token": 0.0,
    "smooth_streaming": Smoothing.AUTO,
    "smooth_max_delay": 0.25,
    "conversation_memory_mode": 2,
    "check_branches": True,
    "chat_id_headers": ("X-Openwebui-Chat-Id", "X-Conversation-Id", "X-Chat-Id"),
    "user_headers": ("X-Openwebui-User-Id", "X-Openwebui-User-Email", "X-User-Id"),
    "side_calls": True,
    "side_call_model": "",
    "read_opendify_tokens": True,
    "connect_timeout": 5.0,
    "first_byte_timeout": 60.0,
    "stream_idle_timeout": 60.0,
    "stream_stall_timeout": 600.0,
    "answer_timeout": 3600.0,
    "client_write_timeout": 60.0,
    "keep_partial_answers": False,
    "commit_after": 10.0,
    "keep_alive_seconds": 10.0,
    "idempotency_seconds": 600.0,
    "idempotency_grace_seconds": 5.0,
    "idempotency_bytes": 64 * 1024 * 1024,
    "redis_url": "",
    "trusted_proxies": (),
    "log_level": "info",
    "log_format": "text",
    "trace_requests": frozenset(),
    "trace_text": False,
    "otlp_endpoint": "",
    "app_keys": (),
}


def test_nothing_has_to_be_set() -> None:
    assert dataclasses.asdict(load_settings({})) == DEFAULTS


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_value_is_not_set(name: str) -> None:
    assert load_settings({name: ""}) == load_settings({name: " \t"}) == load_settings({})


@pytest.mark.parametrize(("name", "knob"), list(knobs()))
def test_a_knob_says_what_it_means_and_its_default_is_good(name: str, knob: Any) -> None:
    assert name == name.upper()
    assert len(knob.meaning.split()) >= 2
    assert load_settings({name: knob.default}) == load_settings({})
