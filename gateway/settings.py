"""Every knob once: name, type, default, meaning.

A knob's environment variable is its field's name in capitals. `load_settings` reads them; `.env.example` and the
README's table are printed from the same fields (`python -m gateway env-example`, `settings-table`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from gateway.client_keys import ClientKey, parse_client_keys
from gateway.dify_api.app import AppKey
from gateway.exchange.details import Details
from gateway.exchange.hold_back import Moderation
from gateway.exchange.memory.modes import MEMORY_MODES
from gateway.exchange.smoothing import Smoothing
from gateway.exchange.thoughts.reasoning import Reasoning
from gateway.knobs import (
    Knob,
    details,
    header_names,
    knob,
    memory_mode,
    model_id,
    moderation,
    names,
    networks,
    number,
    one_of,
    optional_base_url,
    optional_proxy,
    origin,
    reasoning,
    redis_url,
    seconds,
    smoothing,
    switch,
    text,
    whole,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The configuration of one process."""

    # Dify
    dify_api_keys: str = knob(
        "",
        "App keys, comma-separated. `app-key@https://other-dify/v1` for a key of another Dify; options of one app "
        "follow a `?`: `app-key?mode=workflow&query=text&output=result&memory=0` (mode: if Dify is too old to tell it; "
        "query: the input that takes the user's text; output: the workflow output that is the answer; system: the "
        "input that takes the system text; memory, smooth, reasoning, moderation: this app's CONVERSATION_MEMORY_MODE, "
        "SMOOTH_STREAMING, REASONING and MODERATION)",
        text,
        secret=True,
    )
    dify_api_base: str = knob(
        "", "Address of Dify's service API for keys without their own, e.g. https://api.dify.ai/v1", optional_base_url
    )
    app_refresh_seconds: float = knob("60", "Seconds between two looks at every app in Dify", seconds(1, 86_400))
    upstream_http2: bool = knob(
        "false",
        "HTTP/2 to Dify over TLS: answers share connections; faster with many, one slow reader slows all",
        switch,
    )
    ca_file: str = knob("", "PEM file of certificate authorities to trust for Dify instead of the system's", text)
    upstream_proxy: str = knob(
        "", "HTTP proxy for calls to Dify, e.g. http://proxy:3128; http_proxy and the like are ignored", optional_proxy
    )

    # server
    server_host: str = knob("127.0.0.1", "Address to listen on", text)
    server_port: int = knob(
        "5000",
        "TCP port to listen on; 0 takes a free one; a socket that systemd has bound wins over it and SERVER_HOST",
        whole(0, 65_535),
    )
    valid_api_keys: tuple[ClientKey, ...] = knob(
        "",
        "Client keys that may use the gateway, separated by commas or lines; options of one client follow a `?`: "
        "`sk-key?name=chat-ui&smooth=on&memory=1`",
        parse_client_keys,
        secret=True,
    )
    allow_anonymous: bool = knob(
        "false", "Listen beyond loopback although VALID_API_KEYS is empty and anybody may use every app", switch
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = knob(
        "",
        "Addresses and networks of load balancers, comma-separated, e.g. 127.0.0.1,10.0.0.0/8: only their X-Request-ID "
        "and X-Forwarded-For are believed",
        networks,
    )
    cors_allow_origin: str = knob("*", "Origin that browsers may call from; * allows all, none allows none", origin)
    max_body_bytes: int = knob("33554432", "Largest request body in bytes", whole(1024, 1 << 30))
    unready_seconds: float = knob(
        "3",
        "Seconds after SIGTERM in which everything is served but `/readyz` says 503, so that load balancers send no "
        "more before connections are refused; Ctrl-C skips them",
        seconds(0, 300),
    )
    shutdown_seconds: float = knob(
        "30", "Seconds after that in which open answers may finish before an error ends them", seconds(0, 3600)
    )

    # load
    max_connections: int = knob(
        "0", "Client connections accepted at a time; 0: as many as the limit of open files allows", whole(0, 1_000_000)
    )
    max_streams: int = knob("5000", "Answers in flight in this process", whole(1, 1_000_000))
    max_streams_per_dify: int = knob(
        "1000", "Answers in flight per Dify host; a stock Dify serves ten connections per worker", whole(1, 1_000_000)
    )
    queue_length: int = knob("100", "Requests per Dify host that may wait for a slot", whole(0, 1_000_000))
    queue_seconds: float = knob(
        "5", "Seconds that a request may wait for a slot before its 429 or 503", seconds(0, 300)
    )
    starts_per_second: float = knob("2000", "Answers that may start per second in this process", seconds(0.1, 100_000))

    # files
    upload_timeout: float = knob("120", "Seconds that one file's upload to Dify may take", seconds(1, 3600))
    upload_cache_seconds: float = knob(
        "3600", "Seconds in which the same file of the same user is not uploaded again", seconds(0, 604_800)
    )
    upload_cache_files: int = knob(
        "10000", "Uploaded files that are remembered, about 300 bytes each", whole(0, 1_000_000)
    )

    # conversation
    conversation_memory_mode: int = knob(
        "2", "How history reaches Dify: " + "; ".join(f"{n} {m.meaning}" for n, m in MEMORY_MODES.items()), memory_mode
    )

    check_branches: bool = knob(
        "true",
        "Mode 2: ask Dify before each turn whether its conversation still ends with the answer shown; without that, "
        "chats that a header names go on whatever was edited",
        switch,
    )
    read_opendify_tokens: bool = knob(
        "true", "Mode 2: go on with chats that OpenDify's zero-width mode began; its tokens are not signed", switch
    )

    # what an answer shows
    reasoning: Reasoning = knob(
        "field",
        "What becomes of an app's thoughts and tool runs: field (apart, as reasoning_content), inline (in the text, in "
        "think tags) or drop; also by the request header X-Reasoning",
        reasoning,
    )
    workflow_progress: bool = knob(
        "false", "Name each node of a chatflow or workflow among the thoughts when it starts", switch
    )
    dify_details: Details = knob(
        "off",
        "Whether answers have a field `dify` with Dify's ids and price: off, on, or suggestions, which also asks Dify "
        "for questions that could come next (a call of a model); also by the request header X-Dify-Details",
        details,
    )
    moderation: Moderation = knob(
        "stream",
        "Text of apps with moderation: stream (shown as it comes; one that is taken back ends with content_filter) or "
        "buffer (held back until it is settled)",
        moderation,
    )
    characters_per_token: float = knob(
        "0",
        "Where above 0, an answer's text ends after max_tokens times so many characters, and its run is stopped; "
        "0: max_tokens is ignored, as Dify takes no limit and characters are not tokens",
        number(0, 100),
    )

    chat_id_headers: tuple[str, ...] = knob(
        "X-OpenWebUI-Chat-Id,X-Conversation-Id,X-Chat-Id",
        "Mode 2: headers in which a front end names its chat, the first that is there counts; such a chat keeps its "
        "conversation without a token, and is a `user` of its own in Dify. none: no header does",
        header_names,
    )
    user_headers: tuple[str, ...] = knob(
        "X-OpenWebUI-User-Id,X-OpenWebUI-User-Email,X-User-Id",
        "Headers in which a front end names its user, where the body has no `user`; the first that is there counts. "
        "none: no header does",
        header_names,
    )
    side_calls: bool = knob(
        "true",
        "Answer what front ends ask for themselves (titles, tags, follow-ups, …) apart from the user's conversation",
        switch,
    )
    side_call_model: str = knob(
        "", "Model id of the app that answers side calls; empty: the one that was asked", model_id
    )

    # streaming
    smooth_streaming: Smoothing = knob(
        "auto", "off, on, or auto: bursts of text become an even flow for chat front ends, not for programs", smoothing
    )
    smooth_max_delay: float = knob("0.25", "Seconds that smoothing may hold a text back at most", seconds(0.02, 2))

    # time
    connect_timeout: float = knob("5", "Seconds to connect to Dify, name look-up and TLS included", seconds(0.1, 300))
    first_byte_timeout: float = knob(
        "60", "Seconds from the request to Dify's first byte; Dify is silent while it is full", seconds(0.1, 3600)
    )
    stream_idle_timeout: float = knob(
        "60", "Seconds without any byte from Dify in an answer; Dify pings every 10", seconds(0.1, 3600)
    )
    stream_stall_timeout: float = knob(
        "600", "Seconds in which Dify sends nothing but pings before an answer is given up", seconds(0.1, 86_400)
    )
    answer_timeout: float = knob("3600", "Seconds that one answer may take in all", seconds(1, 86_400))
    client_write_timeout: float = knob(
        "60", "Seconds in which a client takes no byte of its answer before it is dropped", seconds(0.1, 3600)
    )
    keep_partial_answers: bool = knob(
        "false", "When a client leaves, listen until the stopped run's end, so that Dify saves what was said", switch
    )
    commit_after: float = knob(
        "10", "Seconds to wait for the first text before a stream's 200 is sent with keep-alives", seconds(0, 300)
    )
    keep_alive_seconds: float = knob(
        "10", "Seconds of silence in a stream before the client gets a comment", seconds(0.05, 300)
    )

    # retries
    idempotency_seconds: float = knob(
        "600", "Seconds after its end in which an answer is given again to its Idempotency-Key", seconds(0, 86_400)
    )
    idempotency_grace_seconds: float = knob(
        "5", "Seconds that an answer with an Idempotency-Key goes on without a client, for a retry", seconds(0, 300)
    )
    idempotency_bytes: int = knob(
        "67108864",
        "Memory for answers that can be given again; one larger than a sixteenth of it cannot",
        whole(1 << 20, 1 << 40),
    )
    redis_url: str = knob(
        "",
        "Redis (5.0 or newer) through which several gateways share answers with an Idempotency-Key, e.g. "
        "redis://:password@host:6379/0; their text lies there for IDEMPOTENCY_SECONDS, questions and keys only as "
        "digests; read at the start. Empty: each gateway for itself",
        redis_url,
        secret=True,
    )

    # logs
    log_level: str = knob("info", "debug, info, warning or error", one_of("debug", "info", "warning", "error"))
    log_format: str = knob("text", "text or json, one line per event", one_of("text", "json"))

    trace_requests: frozenset[str] = knob(
        "",
        "Whose requests are logged with all that Dify is asked and answers: request ids, clients as the log names "
        "them, or *, comma-separated; texts are shown by their length",
        names,
    )
    trace_text: bool = knob("false", "TRACE_REQUESTS shows texts, too: prompts and answers are in the log", switch)

    otlp_endpoint: str = knob(
        "",
        "Address of an OpenTelemetry collector for traces, e.g. http://127.0.0.1:4318; needs the packages "
        "opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http",
        optional_base_url,
    )

    # derived
    app_keys: tuple[AppKey, ...] = ()


def knobs() -> Iterator[tuple[str, Knob]]:
    """Every setting as (environment variable, knob), in order."""
    for one in dataclasses.fields(Settings):
        if declared := one.metadata.get("knob"):
            yield one.name.upper(), declared
