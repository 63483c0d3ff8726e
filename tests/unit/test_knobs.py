"""Each knob alone: what an operator may write, and what is said to a bad value."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from gateway.client_keys import ClientKey
from gateway.exchange.memory.modes import MEMORY_MODES
from gateway.load_settings import BadSettings, load_settings
from gateway.settings import knobs


def problems(**environ: str) -> list[str]:
    with pytest.raises(BadSettings) as caught:
        load_settings(environ)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


# --- one knob ---------------------------------------------------------------------------------------------------------

GOOD: list[tuple[str, str, Any]] = [
    ("DIFY_API_BASE", " https://dify.lan/v1/ ", "https://dify.lan/v1"),
    ("APP_REFRESH_SECONDS", "1.5", 1.5),
    ("UPSTREAM_PROXY", "http://proxy:3128/", "http://proxy:3128"),
    ("UPSTREAM_PROXY", "http://[::1]:3128", "http://[::1]:3128"),
    ("SERVER_HOST", " localhost ", "localhost"),
    ("SERVER_PORT", "0", 0),
    ("SERVER_PORT", "65535", 65535),
    ("VALID_API_KEYS", " sk-a ,, sk-b,", (ClientKey("sk-a"), ClientKey("sk-b"))),
    ("ALLOW_ANONYMOUS", "True", True),
    ("ALLOW_ANONYMOUS", "ON", True),
    ("ALLOW_ANONYMOUS", "1", True),
    ("ALLOW_ANONYMOUS", "yes", True),
    ("ALLOW_ANONYMOUS", "no", False),
    ("ALLOW_ANONYMOUS", "off", False),
    ("ALLOW_ANONYMOUS", "0", False),
    ("ALLOW_ANONYMOUS", "False", False),
    ("CORS_ALLOW_ORIGIN", "none", ""),
    ("CORS_ALLOW_ORIGIN", "https://chat.example.org:8443", "https://chat.example.org:8443"),
    ("CORS_ALLOW_ORIGIN", "chrome-extension://abcdef", "chrome-extension://abcdef"),
    ("SHUTDOWN_SECONDS", "0", 0.0),
    ("UPSTREAM_HTTP2", "true", True),
    ("MAX_CONNECTIONS", "0", 0),
    ("MAX_STREAMS", "1", 1),
    ("MAX_STREAMS_PER_DIFY", "10", 10),
    ("QUEUE_LENGTH", "0", 0),
    ("QUEUE_SECONDS", "0", 0.0),
    ("STARTS_PER_SECOND", "0.5", 0.5),
    ("CONVERSATION_MEMORY_MODE", " 0 ", 0),
    ("CONVERSATION_MEMORY_MODE", "2", 2),
    ("CHECK_BRANCHES", "no", False),
    ("CHAT_ID_HEADERS", " X-Chat , x-room,", ("X-Chat", "X-Room")),
    ("USER_HEADERS", "none", ()),
    ("SIDE_CALL_MODEL", " Small app ", "Small app"),
    ("READ_OPENDIFY_TOKENS", "off", False),
    ("KEEP_PARTIAL_ANSWERS", "yes", True),
    ("IDEMPOTENCY_SECONDS", "0", 0.0),
    ("REDIS_URL", " redis://:p%40ss@cache:6379/1 ", "redis://:p%40ss@cache:6379/1"),
    ("REDIS_URL", "rediss://cache?ssl_ca_certs=/etc/ca.pem", "rediss://cache?ssl_ca_certs=/etc/ca.pem"),
    ("REDIS_URL", "redis://[::1]:6379/0", "redis://[::1]:6379/0"),
    ("REDIS_URL", "unix:///run/redis.sock", "unix:///run/redis.sock"),
    ("TRUSTED_PROXIES", " 127.0.0.1 ,10.0.0.0/8,", (ip_network("127.0.0.1/32"), ip_network("10.0.0.0/8"))),
    ("TRUSTED_PROXIES", "fd00::/8", (ip_network("fd00::/8"),)),
    ("LOG_LEVEL", "WARNING", "warning"),
    ("TRACE_REQUESTS", " req_1 ,chat-ui,", frozenset({"req_1", "chat-ui"})),
    ("LOG_FORMAT", "JSON", "json"),
    ("KEEP_ALIVE_SECONDS", "5e-2", 0.05),
]


@pytest.mark.parametrize(("name", "written", "value"), GOOD)
def test_a_good_value_is_read(name: str, written: str, value: Any) -> None:
    assert getattr(load_settings({name: written}), name.lower()) == value


MODES = ", ".join(map(str, MEMORY_MODES))
BAD: list[tuple[str, str, str]] = [
    ("DIFY_API_BASE", "dify.lan", "not an http(s) address"),
    ("DIFY_API_BASE", "https://dify.lan/v1?a=b", "an address without user, query or fragment is wanted"),
    ("APP_REFRESH_SECONDS", "0", "not between 1 and 86400 seconds"),
    ("APP_REFRESH_SECONDS", "1m", "not a number of seconds"),
    ("APP_REFRESH_SECONDS", "nan", "not between 1 and 86400 seconds"),
    ("UPSTREAM_PROXY", "proxy:3128", "not an http(s) address"),
    ("UPSTREAM_PROXY", "https://proxy:3128", "not http://host:port"),
    ("UPSTREAM_PROXY", "http://proxy:3128/path", "not http://host:port"),
    ("UPSTREAM_PROXY", "socks5://proxy:3128", "not an http(s) address"),
    ("UPSTREAM_PROXY", "http://proxy:x", "its port is not a number up to 65535"),
    ("UPSTREAM_PROXY", "http://user@proxy:3128", "an address without user, query or fragment is wanted"),
    ("SERVER_PORT", "http", "not a whole number"),
    ("SERVER_PORT", "80.5", "not a whole number"),
    ("SERVER_PORT", "65536", "not between 0 and 65535"),
    ("SERVER_PORT", "-1", "not between 0 and 65535"),
    ("SERVER_PORT", "5000 # the port", "not a whole number"),
    ("ALLOW_ANONYMOUS", "maybe", "not true or false"),
    (
        "CORS_ALLOW_ORIGIN",
        "https://a.example/",
        "not *, none or one origin like https://chat.example.org, without a path",
    ),
    (
        "CORS_ALLOW_ORIGIN",
        "https://a https://b",
        "not *, none or one origin like https://chat.example.org, without a path",
    ),
    ("CORS_ALLOW_ORIGIN", "a.example", "not *, none or one origin like https://chat.example.org, without a path"),
    ("MAX_BODY_BYTES", "32MB", "not a whole number"),
    ("MAX_BODY_BYTES", "1023", "not between 1024 and 1073741824"),
    ("SHUTDOWN_SECONDS", "-1", "not between 0 and 3600 seconds"),
    ("SHUTDOWN_SECONDS", "inf", "not between 0 and 3600 seconds"),
    ("UPSTREAM_HTTP2", "2", "not true or false"),
    ("MAX_CONNECTIONS", "-1", "not between 0 and 1000000"),
    ("MAX_STREAMS", "0", "not between 1 and 1000000"),
    ("MAX_STREAMS_PER_DIFY", "0", "not between 1 and 1000000"),
    ("MAX_STREAMS_PER_DIFY", "many", "not a whole number"),
    ("QUEUE_LENGTH", "-1", "not between 0 and 1000000"),
    ("CHARACTERS_PER_TOKEN", "four", "not a number"),
    ("CHARACTERS_PER_TOKEN", "-1", "not between 0 and 100"),
    ("CHARACTERS_PER_TOKEN", "nan", "not between 0 and 100"),
    ("REASONING", "loud", "not one of field, inline, drop"),
    ("QUEUE_SECONDS", "301", "not between 0 and 300 seconds"),
    ("CHECK_BRANCHES", "2", "not true or false"),
    ("CHAT_ID_HEADERS", "X Chat", "not a list of header names, comma-separated, or none"),
    ("USER_HEADERS", "X-User:", "not a list of header names, comma-separated, or none"),
    ("USER_HEADERS", "none,X-Usér", "not a list of header names, comma-separated, or none"),
    ("READ_OPENDIFY_TOKENS", "maybe", "not true or false"),
    ("KEEP_PARTIAL_ANSWERS", "5", "not true or false"),
    ("CONVERSATION_MEMORY_MODE", "9", f"not one of {MODES}"),
    ("CONVERSATION_MEMORY_MODE", "+1", f"not one of {MODES}"),
    ("CONNECT_TIMEOUT", "0", "not between 0.1 and 300 seconds"),
    ("FIRST_BYTE_TIMEOUT", "1h", "not a number of seconds"),
    ("STREAM_IDLE_TIMEOUT", "-5", "not between 0.1 and 3600 seconds"),
    ("STREAM_STALL_TIMEOUT", "90000", "not between 0.1 and 86400 seconds"),
    ("ANSWER_TIMEOUT", "0.5", "not between 1 and 86400 seconds"),
    ("CLIENT_WRITE_TIMEOUT", "0", "not between 0.1 and 3600 seconds"),
    ("COMMIT_AFTER", "301", "not between 0 and 300 seconds"),
    ("KEEP_ALIVE_SECONDS", "0", "not between 0.05 and 300 seconds"),
    ("IDEMPOTENCY_BYTES", "64MB", "not a whole number"),
    ("IDEMPOTENCY_GRACE_SECONDS", "-1", "not between 0 and 300 seconds"),
    (
        "TRUSTED_PROXIES",
        "haproxy.lan",
        "'haproxy.lan' does not appear to be an IPv4 or IPv6 network; "
        "wanted are addresses and networks like 10.0.0.0/8",
    ),
    (
        "TRUSTED_PROXIES",
        "10.0.0.1/8",
        "10.0.0.1/8 has host bits set; wanted are addresses and networks like 10.0.0.0/8",
    ),
    (
        "TRACE_REQUESTS",
        "two words",
        "not request ids or clients as the log names them: a name, or key- and eight digits",
    ),
    ("LOG_LEVEL", "verbose", "not one of debug, info, warning, error"),
    ("LOG_FORMAT", "xml", "not one of text, json"),
]


@pytest.mark.parametrize("written", ["0", "0.05", "inf", "nan", "100001", "fast"])
def test_a_rate_is_a_number_within_bounds(written: str) -> None:
    (problem,) = problems(STARTS_PER_SECOND=written)
    assert problem.startswith(f"STARTS_PER_SECOND={written!r}: not ")


def test_every_memory_mode_can_be_chosen_and_is_explained() -> None:
    meaning = dict(knobs())["CONVERSATION_MEMORY_MODE"].meaning
    for number, memory in MEMORY_MODES.items():
        assert load_settings({"CONVERSATION_MEMORY_MODE": str(number)}).conversation_memory_mode == number
        assert f"{number} {memory.meaning}" in meaning


@pytest.mark.parametrize(("name", "written", "why"), BAD)
def test_a_bad_value_has_its_line(name: str, written: str, why: str) -> None:
    assert problems(**{name: written}) == [f"{name}={written!r}: {why}"]


@pytest.mark.parametrize("url", ["cache:6379", "http://cache", "redis://", "redis://:secret@cache:port/0", "unix://"])
def test_a_bad_redis_url_is_not_shown(url: str) -> None:
    assert problems(REDIS_URL=url) == ["REDIS_URL: not redis://host:port/number, rediss://… or unix:///path"]
