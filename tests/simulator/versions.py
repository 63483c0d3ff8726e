"""What differs on the wire between Dify releases, one row a release."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

BASIC_MODES = frozenset({"chat", "agent-chat", "advanced-chat", "completion", "workflow"})


def spaced_json(value: Any) -> str:
    """Python's own JSON: what Flask answers with, and what old releases stream."""
    return json.dumps(value)


def compact_json(value: Any) -> str:
    """orjson's: no spaces and raw UTF-8, U+2028 included."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class VersionProfile:
    """One release. A field is there because some client code broke on it."""

    name: str
    modes: frozenset[str]

    # framing
    stream_json: Callable[[Any], str]
    expose_headers: bool  # Access-Control-Expose-Headers on every CORS answer
    www_authenticate: bool  # on a 401
    blocking_charset: bool  # "; charset=utf-8" on blocking replies
    ping_first: bool  # flows open with a ping

    # description routes
    root_is_json: bool
    info_fields: tuple[str, ...]
    site_route: bool
    events_route: bool
    workflow_id_routes: bool

    # errors
    pydantic_arguments: bool  # multi-line validator dumps instead of {code, message, params}
    not_found_hint: bool  # 404 texts continue with "You have requested this URI ..."
    error_status_field: bool  # unexpected 500s carry "status"

    # time
    first_turn_seconds: float  # slept before a new conversation's first byte, unless auto_generate_name is false
    title_seconds: float  # the response stays open this long after message_end, for the title

    # events
    flow_end_first: bool  # workflow_finished before message_end
    sequence_numbers: bool  # legacy node fields: sequence_number, parallel_*, real index and predecessor
    llm_empty_chunks: int  # empty deltas that close an LLM's text in a flow
    streams_every_output: bool  # a workflow streams all outputs, joined by "\n", not only the LLM's
    user_file_renames_chunks: bool  # chat and completion chunks become message_file when the user attached a file
    own_file_renames_chunks: bool  # ... when the app made a file
    reasoning_chunks: bool
    started_reason: bool
    metadata_keys: bool  # annotation_reply and retriever_resources are always there
    metadata_reasoning: bool
    full_citations: bool
    replace_reason: bool
    html_thinking: bool  # <details> instead of <think>
    replace_on_every_turn: bool  # a moderated app always sends message_replace
    null_outputs: bool  # outputs of a run without outputs: null, else {}
    counts_exceptions: bool

    # usage
    prices: tuple[str, str, str]  # prompt unit price, completion unit price, price unit
    timed_usage: bool  # time_to_first_token, time_to_generate
    agent_total_is_zero: bool
    stop_estimates_usage: bool

    # requests
    validates_every_turn: bool  # inputs are checked and used on every turn, not only the first
    strict_bodies: bool  # pydantic types: query must be text, inputs must be an object
    conversation_delete_is_204: bool
    foreign_stop_aborts: bool  # anybody's stop ends a flow, as a failure
    background_flows: bool  # a flow's answer is stored although the client left
    upload_fields: tuple[str, ...]
    custom_files_in_basic_apps: bool  # files of no known type, whose extension the app lists
    files_bound_to_user: bool  # who uploaded a file, and for which app, is looked at when it is used


_V0_15_3 = VersionProfile(
    name="0.15.3",
    modes=BASIC_MODES,
    stream_json=spaced_json,
    expose_headers=False,
    www_authenticate=False,
    blocking_charset=False,
    ping_first=False,
    root_is_json=True,
    info_fields=("name", "description", "tags"),
    site_route=False,
    events_route=False,
    workflow_id_routes=False,
    pydantic_arguments=False,
    not_found_hint=False,
    error_status_field=False,
    first_turn_seconds=0.0,
    title_seconds=1.0,
    flow_end_first=True,
    sequence_numbers=True,
    llm_empty_chunks=1,
    streams_every_output=False,
    user_file_renames_chunks=False,
    own_file_renames_chunks=False,
    reasoning_chunks=False,
    started_reason=False,
    metadata_keys=False,
    metadata_reasoning=False,
    full_citations=False,
    replace_reason=False,
    html_thinking=True,
    replace_on_every_turn=True,
    null_outputs=True,
    counts_exceptions=False,
    prices=("0", "0", "0"),
    timed_usage=False,
    agent_total_is_zero=True,
    stop_estimates_usage=True,
    validates_every_turn=False,
    strict_bodies=False,
    conversation_delete_is_204=False,
    foreign_stop_aborts=False,
    background_flows=False,
    upload_fields=(),
    custom_files_in_basic_apps=False,
    files_bound_to_user=False,
)

_V1_12_1 = replace(
    _V0_15_3,
    name="1.12.1",
    stream_json=compact_json,
    expose_headers=True,
    www_authenticate=True,
    blocking_charset=True,
    root_is_json=False,
    info_fields=("name", "description", "tags", "mode", "author_name"),
    site_route=True,
    workflow_id_routes=True,
    pydantic_arguments=True,
    not_found_hint=True,
    error_status_field=True,
    first_turn_seconds=1.0,
    title_seconds=0.0,
    sequence_numbers=False,
    llm_empty_chunks=2,
    streams_every_output=True,
    user_file_renames_chunks=True,
    own_file_renames_chunks=True,
    metadata_keys=True,
    full_citations=True,
    replace_reason=True,
    html_thinking=False,
    replace_on_every_turn=False,
    null_outputs=False,
    counts_exceptions=True,
    prices=("0.001", "0.002", "0.001"),
    timed_usage=True,
    agent_total_is_zero=False,
    stop_estimates_usage=False,
    validates_every_turn=True,
    strict_bodies=True,
    conversation_delete_is_204=True,
    foreign_stop_aborts=True,
    upload_fields=(
        "preview_url",
        "source_url",
        "original_url",
        "user_id",
        "tenant_id",
        "conversation_id",
        "file_key",
    ),
    custom_files_in_basic_apps=True,
)

_V1_16_0 = replace(
    _V1_12_1,
    name="1.16.0",
    modes=BASIC_MODES | {"agent"},
    ping_first=True,
    events_route=True,
    first_turn_seconds=0.0,
    flow_end_first=False,
    user_file_renames_chunks=False,
    reasoning_chunks=True,
    started_reason=True,
    metadata_reasoning=True,
    background_flows=True,
    upload_fields=(*_V1_12_1.upload_fields, "reference"),
    files_bound_to_user=True,
)

VERSIONS: dict[str, VersionProfile] = {row.name: row for row in (_V0_15_3, _V1_12_1, _V1_16_0)}
