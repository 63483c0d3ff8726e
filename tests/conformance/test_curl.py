"""curl, and the HTTP that no SDK sends but scripts, proxies and browsers do."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conformance.conftest import KEY, Dify, Gateway
from tests.conformance.models import CHAT

AUTHORIZATION = ("-H", f"Authorization: Bearer {KEY}")
JSON = ("-H", "Content-Type: application/json")


@dataclass(frozen=True)
class Reply:
    """One response as curl shows it."""

    version: str
    status: int
    headers: dict[str, str]
    body: str
    talk: str  # with -v: what went over the wire

    def json(self) -> Any:
        return json.loads(self.body)

    def words(self) -> str:
        """What a stream says."""
        events = [
            json.loads(line.removeprefix("data: ")) for line in self.body.split("\n\n") if line.startswith("data: {")
        ]
        return "".join(event["choices"][0]["delta"]["content"] for event in events)


def curl(*arguments: str, stdin: bytes = b"") -> Reply:
    assert shutil.which("curl"), "curl is missing; on Debian: apt-get install curl"
    command = ["curl", "-sS", "-i", "--noproxy", "*", "--max-time", "20", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr.decode()
    head, _, body = done.stdout.decode().partition("\r\n\r\n")
    while head.startswith("HTTP/1.1 100"):
        head, _, body = body.partition("\r\n\r\n")
    status_line, *lines = head.split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Reply(status_line.split()[0], int(status_line.split()[1]), headers, body, done.stderr.decode())


def body(text: str = "[[n=5]]", **fields: Any) -> str:
    return json.dumps({"model": CHAT, "messages": [{"role": "user", "content": text}], **fields})


@pytest.fixture(scope="module")
def chat(gateway: Gateway) -> str:
    return f"{gateway.base_url}/chat/completions"


def test_the_documented_line_streams(chat: str) -> None:
    reply = curl("-N", chat, *AUTHORIZATION, *JSON, "-d", body(stream=True))
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.headers["transfer-encoding"] == "chunked"
    assert reply.words() == "w1 w2 w3 w4 w5 "
    assert reply.body.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [False, True])
def test_what_kind_of_body_it_is_need_not_be_said(chat: str, stream: bool) -> None:
    reply = curl(chat, *AUTHORIZATION, "-d", body(stream=stream))  # as application/x-www-form-urlencoded
    assert reply.status == 200
    assert "w5" in reply.body


def test_a_compressed_answer_is_never_sent(chat: str) -> None:
    for stream in (False, True):
        reply = curl("-H", "Accept-Encoding: gzip, br", chat, *AUTHORIZATION, *JSON, "-d", body(stream=stream))
        assert "content-encoding" not in reply.headers
        assert "w5" in reply.body


def test_a_large_body_is_asked_for_first(chat: str, dify: Dify, user: str) -> None:
    text = "x" * 1_500_000 + " [[n=5]]"
    reply = curl("-v", chat, *AUTHORIZATION, *JSON, "-d", "@-", stdin=body(text, user=user).encode())
    assert "> Expect: 100-continue" in reply.talk
    assert "< HTTP/1.1 100" in reply.talk
    assert reply.json()["choices"][0]["message"]["content"] == "w1 w2 w3 w4 w5 "
    assert dify.requests(user)[0]["body"]["query"] == text


def test_a_body_over_the_limit_is_refused_before_it_is_sent(chat: str) -> None:
    size = ("-H", f"Content-Length: {1 << 40}")
    reply = curl("-v", chat, *AUTHORIZATION, *JSON, *size, "-H", "Expect: 100-continue", "-d", "@-", stdin=b"{}")
    assert reply.status == 413
    assert "< HTTP/1.1 100" not in reply.talk


def test_a_chunked_body_is_read(chat: str) -> None:
    chunked = ("-H", "Transfer-Encoding: chunked")
    reply = curl(chat, *AUTHORIZATION, *JSON, *chunked, "-d", "@-", stdin=body().encode())
    assert reply.json()["choices"][0]["message"]["content"] == "w1 w2 w3 w4 w5 "


def test_http_1_0_gets_a_whole_answer(chat: str) -> None:
    reply = curl("--http1.0", chat, *AUTHORIZATION, *JSON, "-d", body())
    assert int(reply.headers["content-length"]) == len(reply.body)
    assert reply.json()["choices"][0]["message"]["content"] == "w1 w2 w3 w4 w5 "


def test_http_1_0_gets_a_stream_that_ends_with_the_connection(chat: str) -> None:
    reply = curl("--http1.0", chat, *AUTHORIZATION, *JSON, "-d", body(stream=True))
    assert "transfer-encoding" not in reply.headers
    assert reply.words() == "w1 w2 w3 w4 w5 "
    assert reply.body.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("path", "status"), {"/models": 200, f"/models/{CHAT.replace(' ', '%20')}": 200, "/chat/completions": 405}.items()
)
def test_head_tells_the_headers_alone(gateway: Gateway, path: str, status: int) -> None:
    reply = curl("-I", f"{gateway.base_url}{path}", *AUTHORIZATION)
    assert reply.status == status
    assert int(reply.headers["content-length"]) > 0
    assert reply.body == ""


@pytest.mark.parametrize("path", ["/models", "/chat/completions"])
def test_a_trailing_slash_does_not_matter(gateway: Gateway, path: str) -> None:
    data = ("-d", body()) if "chat" in path else ()
    assert curl(f"{gateway.base_url}{path}/", *AUTHORIZATION, *data).status == 200


# --- browsers ---------------------------------------------------------------------------------------------------------

# What openai-node sends from a browser.
SDK_HEADERS = (
    "authorization,content-type,x-stainless-arch,x-stainless-lang,x-stainless-os,x-stainless-package-version,"
    "x-stainless-retry-count,x-stainless-runtime,x-stainless-runtime-version,x-stainless-timeout,"
    "x-stainless-helper-method"
)


@pytest.mark.parametrize(
    ("path", "method"), [("/chat/completions", "POST"), ("/models", "GET"), ("/models/a%2Fb", "GET")]
)
def test_a_browser_may_call_after_asking(gateway: Gateway, path: str, method: str) -> None:
    asking = ["Origin: https://chat.example", f"Access-Control-Request-Method: {method}"]
    asking.append(f"Access-Control-Request-Headers: {SDK_HEADERS}")
    arguments = [argument for header in asking for argument in ("-H", header)]
    reply = curl("-X", "OPTIONS", f"{gateway.base_url}{path}", *arguments)  # a browser asks without its key
    assert reply.status == 204
    assert reply.headers["access-control-allow-origin"] == "*"
    assert method in reply.headers["access-control-allow-methods"].split(", ")
    assert set(SDK_HEADERS.split(",")) <= set(reply.headers["access-control-allow-headers"].split(","))


@pytest.mark.parametrize("text", ["[[n=5]]", "[[fail=500]]"])
def test_a_browser_may_read_the_answer_and_the_error(chat: str, text: str) -> None:
    reply = curl(chat, *AUTHORIZATION, *JSON, "-H", "Origin: https://chat.example", "-d", body(text))
    assert reply.headers["access-control-allow-origin"] == "*"
    assert "x-request-id" in reply.headers["access-control-expose-headers"]
