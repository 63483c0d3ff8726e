"""How a failure that Dify told is recognised: what was said, and the rows that say what it means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from gateway.dify_api.streamed_text import mend_surrogates
from gateway.errors import GatewayError
from gateway.frozen import frozen
from gateway.scrub import scrub

# What only a run can say: Dify's own prefixes, and the words of model plugins, which name themselves in brackets.
_RUN_WORDS = re.compile(
    r"^Run failed:|^\[[\w./-]+\] |^Incorrect API key|\bPlugin Daemon\b|PluginInvokeError|\bInvoke[A-Z]\w*Error\b"
)


def one_line(text: str, limit: int = 500) -> str:
    """A text from outside as it may stand in an error message: one line, not long, without keys."""
    line = scrub(mend_surrogates(" ".join(text[: limit * 8].split())))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def status_pattern(codes: str, *phrases: str) -> str:
    """A pattern for a status code where it is said to be one ("status code 429", not "page 429"), or for a phrase."""
    named = rf"""\b(?:status(?:[ _]code)?|error[ _]code|code|http(?:/[\d.]+)?)["']?\s?[:=]?\s?["']?(?:{codes})\b"""
    return "|".join((named, *phrases))


@frozen
class Failure:
    """What was said, and where."""

    words: str  # one line
    code: str = ""
    status: int | None = None
    by_dify: bool = True  # False: HTML of a proxy or of an unknown route, nothing, garbage
    in_stream: bool = False
    retry_after: int | None = None

    @property
    def is_run(self) -> bool:
        """Whether a run failed, rather than the request being refused; Dify then quotes a provider or a node."""
        return self.by_dify and (
            self.code == "completion_request_error"
            or (self.in_stream and not self.code)
            or _RUN_WORDS.search(self.words) is not None
        )


@frozen
class FailureKind:
    """One row: the criteria, of which all that are given must hold, and the error that is meant."""

    error: type[GatewayError]
    text: str  # for the client; {dify} stands for Dify's words as a sentence of their own, {status} for the HTTP status
    says: str | None = None
    codes: tuple[str, ...] = ()
    statuses: tuple[int, ...] = ()
    is_run: bool | None = None
    by_dify: bool | None = None
    in_stream: bool | None = None
    param: str | None = None  # {variable} stands for the group of that name in `says`
    options: Mapping[str, Any] = field(default_factory=dict)  # of the GatewayError

    def match(self, failure: Failure) -> GatewayError | None:
        """The error, if the failure is of this kind."""
        criteria = (
            not self.codes or failure.code in self.codes,
            not self.statuses or failure.status in self.statuses,
            self.is_run in (None, failure.is_run),
            self.by_dify in (None, failure.by_dify),
            self.in_stream in (None, failure.in_stream),
        )
        said = re.search(self.says or "", failure.words, re.IGNORECASE)
        return self._error(failure, said.groupdict()) if all(criteria) and said else None

    def _error(self, failure: Failure, groups: dict[str, str]) -> GatewayError:
        options = dict(self.options)
        if failure.retry_after is not None and self.error.default_retry_after is not None:
            options["retry_after"] = failure.retry_after
        dify = f" Dify: {failure.words}" if failure.words else ""
        message = one_line(self.text.format(dify=dify, status=failure.status))
        return self.error(message, param=self.param and self.param.format(**groups), **options)
