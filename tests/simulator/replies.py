"""Answers as values, and their bytes."""

from __future__ import annotations

import http.client
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from tests.simulator.runs import Run
from tests.simulator.versions import VersionProfile, spaced_json

JSON, HTML, SSE = "application/json", "text/html; charset=utf-8", "text/event-stream; charset=utf-8"
Header = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole response."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[Header, ...] = ()
    cors: bool = True


@dataclass(frozen=True, slots=True)
class StreamReply:
    """A run's events, from entry `skip` on."""

    run: Run
    skip: int = 0


@dataclass(frozen=True, slots=True)
class BlockingWait:
    """The answer of a run once it has ended."""

    run: Run


@dataclass(frozen=True, slots=True)
class Recording:
    """A recorded response; `pauses` are seconds before each chunk."""

    status: int
    headers: tuple[Header, ...]
    chunks: tuple[bytes, ...]
    pauses: tuple[float, ...]
    chunked: bool
    complete: bool


@dataclass(frozen=True, slots=True)
class Misbehave:
    """No HTTP at all: "hang", "nostatus" or "garbage"."""

    how: str


AnyReply = Reply | StreamReply | BlockingWait | Recording | Misbehave


class ApiError(Exception):
    """A request check that failed; the server answers with `reply`."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.body.decode())
        self.reply = reply


def json_reply(value: Any, status: int = 200, headers: tuple[Header, ...] = ()) -> Reply:
    return Reply(status, (spaced_json(value) + "\n").encode(), headers=headers)


def html_reply(status: int, title: str, text: str) -> Reply:
    page = f"<!doctype html>\n<html lang=en>\n<title>{status} {title}</title>\n<h1>{title}</h1>\n<p>{text}</p>\n"
    return Reply(status, page.encode(), HTML, cors=False)


def error(status: int, code: str, message: str, headers: tuple[Header, ...] = ()) -> ApiError:
    return ApiError(json_reply({"code": code, "message": message, "status": status}, status, headers))


def unexpected_error(profile: VersionProfile) -> ApiError:
    """An exception nobody caught."""
    status = {"status": 500} if profile.error_status_field else {}
    return ApiError(json_reply({"message": "Internal Server Error", "code": "unknown", **status}, 500))


def argument_error(profile: VersionProfile, model: str, argument: str, legacy: str, modern: str) -> ApiError:
    """`legacy` in the old shape, or `modern` the way pydantic dumps it."""
    if not profile.pydantic_arguments:
        return ApiError(json_reply({"code": "invalid_param", "message": legacy, "params": argument}, 400))
    kind = modern.split("[type=")[1].split(",")[0]
    place = f"\n{argument}" if argument else ""
    text = f"1 validation error for {model}{place}\n  {modern}\n    For further information visit "
    return error(400, "invalid_param", f"{text}https://errors.pydantic.dev/2.11/v/{kind}")


def head_of(
    profile: VersionProfile, status: int, fields: Iterable[Header], *, keep_alive: bool, cors: bool = True
) -> bytes:
    """Status line and headers in the order gunicorn and Flask send them."""
    phrase = http.client.responses.get(status, "UNKNOWN").upper()
    lines = [f"HTTP/1.1 {status} {phrase}", "Server: gunicorn", f"Date: {formatdate(usegmt=True)}"]
    lines.append(f"Connection: {'keep-alive' if keep_alive else 'close'}")
    lines += [f"{name}: {value}" for name, value in fields]
    if cors:
        lines.append("Access-Control-Allow-Origin: *")
        if profile.expose_headers:
            lines.append("Access-Control-Expose-Headers: X-Env, X-Trace-Id, X-Version")
    lines += [f"X-Version: {profile.name}", "X-Env: PRODUCTION", "", ""]
    return "\r\n".join(lines).encode("latin-1")
