"""The reader's rules, one by one, and what no input may do to it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dify_api.answer_reader import AnswerReader
from gateway.dify_api.app import AppMode
from gateway.dify_api.event_readers import READERS
from gateway.errors import RunFailed, UpstreamProtocolError, UpstreamTruncated
from gateway.exchange.answer import (
    AnswerEvent,
    Failed,
    Finished,
    FinishReason,
    ReasoningDelta,
    Started,
    TextDelta,
    Usage,
)
from gateway.exchange.file_link import FileLink
from gateway.exchange.forms.form import Form, FormAction
from gateway.sse import encode_data

Event = dict[str, Any]
USAGE = {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}


def event(name: str, **fields: Any) -> Event:
    return {"event": name, "task_id": "t", "conversation_id": "c", "message_id": "m", **fields}


def message(text: Any, *selector: str) -> Event:
    return event("message", answer=text, from_variable_selector=list(selector) or None)


def chunk(text: Any, *selector: str) -> Event:
    return event("text_chunk", data={"text": text, "from_variable_selector": list(selector) or None})


def flow_started() -> Event:
    return event("workflow_started", workflow_run_id="r", data={"id": "r"})


def flow_finished(outputs: Any = None, status: str = "succeeded", error: Any = None, total: Any = None) -> Event:
    data = {"status": status, "outputs": outputs, "error": error, "total_tokens": total}
    return event("workflow_finished", workflow_run_id="r", data=data)


def node_finished(node: str, reason: Any, kind: str = "llm") -> Event:
    return event(
        "node_finished", data={"id": node, "node_id": node, "node_type": kind, "outputs": {"finish_reason": reason}}
    )


MESSAGE_END = event("message_end", metadata={"usage": USAGE})
RETRY = event("node_retry", data={"retry_index": 1})


def receive(reader: AnswerReader, *events: Event) -> list[AnswerEvent]:
    return [answer for item in events for answer in reader.receive_data(json.dumps(item).encode())]


def read(mode: AppMode, *events: Event, output_variable: str | None = None) -> list[AnswerEvent]:
    """What follows Started."""
    reader = AnswerReader(mode, output_variable)
    answer = receive(reader, *events) + reader.receive_eof()
    assert isinstance(answer[0], Started)
    assert reader.complete
    assert not reader.settling
    return answer[1:]


def text_of(answer: list[AnswerEvent]) -> str:
    return "".join(item.text for item in answer if isinstance(item, TextDelta))


def end_of(answer: list[AnswerEvent]) -> Finished:
    assert isinstance(answer[-1], Finished)
    return answer[-1]


# --- beginning and progress -------------------------------------------------------------------------------------------


def test_the_first_event_with_a_task_id_starts_the_answer() -> None:
    reader = AnswerReader(AppMode.CHAT)
    assert receive(reader, {"event": "agent_log"}) == []
    assert receive(reader, message("a")) == [Started("t", "c", "m"), TextDelta("a")]
    assert receive(reader, message("b")) == [TextDelta("b")]


def test_an_unknown_first_event_starts_the_answer_too() -> None:
    reader = AnswerReader(AppMode.WORKFLOW)
    assert receive(reader, {"event": "brand_new", "task_id": "t"}) == [Started("t")]
    assert receive(reader, flow_started()) == []
    assert reader.workflow_run_id == "r"
    assert (reader.events_seen, reader.unknown_events) == (2, 1)


def test_pings_are_no_progress() -> None:
    reader = AnswerReader(AppMode.CHAT)
    assert reader.receive_data(b'{"event":"ping"}') == []
    assert reader.receive_data(b"") == []
    assert reader.events_seen == 0
    receive(reader, message(""), event("agent_thought"), event("tts_message", audio="AA"))
    assert (reader.events_seen, reader.unknown_events) == (3, 0)


@pytest.mark.parametrize("data", [b"[]", b"5", b'"message"', b"null", b"{}", b'{"event":5}', b'{"event":["message"]}'])
def test_what_is_no_event_is_skipped_and_counted(data: bytes) -> None:
    reader = AnswerReader(AppMode.CHAT)
    assert reader.receive_data(data) == []
    assert reader.unknown_events == 1
    assert not reader.complete


@pytest.mark.parametrize("data", [b"{", b"<html>", b"[DONE]", b'{"event":"message"} x', b'{"\xff', b"[" * 5000, b"\0"])
def test_broken_json_fails(data: bytes) -> None:
    reader = AnswerReader(AppMode.CHAT)
    (failed,) = reader.receive_data(data)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, UpstreamProtocolError)
    assert reader.complete


@pytest.mark.parametrize(
    ("raw", "text"),
    [(b"\xff", "\ufffd"), (b"a\xe2\x82z", "a\ufffdz"), (b"\xc0\x80", "\ufffd\ufffd"), (b"\xed\xa0\x80", "\ufffd")],
)
def test_bytes_that_are_no_utf8_are_replaced(raw: bytes, text: str) -> None:
    event = b'{"event": "message", "task_id": "t", "answer": "%b"}'
    reader = AnswerReader(AppMode.CHAT)
    answer = reader.receive(b"".join(map(encode_data, [event % b"one ", event % (raw + b" two"), event % b" three"])))
    assert "".join(one.text for one in answer if isinstance(one, TextDelta)) == f"one {text} two three"
    assert not reader.complete


def test_nothing_follows_the_end() -> None:
    reader = AnswerReader(AppMode.CHAT)
    assert isinstance(receive(reader, message("a"), MESSAGE_END)[-1], Finished)
    assert receive(reader, message("b"), event("error", code="x", message="y"), MESSAGE_END) == []
    assert reader.receive_data(b"{") == []
    assert reader.receive_eof() == []


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("mode", AppMode)
def test_an_event_without_fields_breaks_nothing(name: str, mode: AppMode) -> None:
    for fields in ({}, {"data": None}, {"data": {}}, {"answer": None, "metadata": 5, "data": []}):
        reader = AnswerReader(mode)
        receive(reader, {"event": name, **fields})
        assert reader.unknown_events == 0


# --- text -------------------------------------------------------------------------------------------------------------


def test_text_comes_as_it_is() -> None:
    answer = read(AppMode.CHAT, message(""), message(" \n"), message(None), message(5), message("a"), MESSAGE_END)
    assert answer == [TextDelta(" \n"), TextDelta("a"), Finished(usage=Usage(2, 1, 3))]


def test_halves_of_a_character_are_joined() -> None:
    answer = read(AppMode.CHAT, message("a\ud83d"), message("\ude00b"), message("\ud83d"), MESSAGE_END)
    assert [item.text for item in answer[:-1] if isinstance(item, TextDelta)] == ["a", "😀b", "\ufffd"]


def test_a_message_file_with_an_answer_is_text() -> None:
    labelled = event("message_file", id="m", answer="seen")
    assert text_of(read(AppMode.CHAT, labelled, MESSAGE_END)) == "seen"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ({"type": "image", "belongs_to": "assistant", "url": "http://x/f.png"}, "w1\n\n![image](http://x/f.png)\n\nw2"),
        ({"type": "document", "url": "/files/f.pdf?sign=1"}, "w1\n\n[file](http://dify/files/f.pdf?sign=1)\n\nw2"),
        ({"type": "image", "belongs_to": "user", "url": "http://x/f.png"}, "w1w2"),
        ({"type": "image", "url": ""}, "w1w2"),
        ({"type": "image", "url": 5}, "w1w2"),
    ],
)
def test_a_file_that_the_app_made_is_a_link(file: dict[str, Any], text: str) -> None:
    reader = AnswerReader(AppMode.AGENT_CHAT, host="http://dify")
    frames = [event("agent_message", answer="w1"), event("message_file", id="f", **file)]
    frames += [event("agent_message", answer="w2"), MESSAGE_END]
    events = [one for frame in frames for one in reader.receive_data(json.dumps(frame).encode())]
    assert text_of(events) == text
    assert isinstance(end := events[-1], Finished)
    assert bool(end.files) is ("(http" in text)


PNG = {
    "dify_model_identity": "__dify__file__",
    "type": "image",
    "transfer_method": "tool_file",
    "filename": "a.png",
    "url": "/files/tools/0a1b.png?sign=1",
}
LINK = FileLink("http://dify/files/tools/0a1b.png?sign=1", "image", "a.png")
SHOWN = "![a.png](http://dify/files/tools/0a1b.png?sign=1)"


def read_at(host: str, mode: AppMode, *events: Event) -> list[AnswerEvent]:
    reader = AnswerReader(mode, host=host)
    return [one for frame in events for one in reader.receive_data(json.dumps(frame).encode())]


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("Here.", f"Here.\n\n{SHOWN}"),
        ("", SHOWN),
        ("Here: ![a.png](/files/tools/0a1b.png?sign=9)", "Here: ![a.png](http://dify/files/tools/0a1b.png?sign=9)"),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_chatflows_files_are_linked_once_and_told(said: str, text: str, turned: bool) -> None:
    outputs = {"answer": said, "files": [PNG]}
    ends = [
        event("workflow_finished", data={"status": "succeeded", "outputs": outputs, "files": [PNG]}),
        {**MESSAGE_END, "files": [PNG]},
    ]
    frames = [event("workflow_started"), message(said), *(reversed(ends) if turned else ends)]
    events = read_at("http://dify", AppMode.ADVANCED_CHAT, *frames)
    assert text_of(events) == text
    assert isinstance(end := events[-1], Finished)
    assert (end.files, end.text) == ((LINK,), None)


@pytest.mark.parametrize("teller", ["workflow_finished", "message_end"])
def test_either_end_may_tell_the_files(teller: str) -> None:
    files = {"files": [PNG]}
    frames = [event("workflow_started"), message("Here.")]
    frames += [event("workflow_finished", data={"status": "succeeded", **(files if teller != "message_end" else {})})]
    frames += [{**MESSAGE_END, **(files if teller == "message_end" else {})}]
    assert text_of(read_at("http://dify", AppMode.ADVANCED_CHAT, *frames)) == f"Here.\n\n{SHOWN}"


def test_a_settled_text_is_linked_like_the_stream() -> None:
    frames = [event("workflow_started"), message("w1 "), event("node_retry"), message("w1 w2")]
    data = {"status": "succeeded", "outputs": {"answer": "w1 w2"}, "files": [PNG]}
    *_, links, end = read_at(
        "http://dify", AppMode.ADVANCED_CHAT, *frames, event("workflow_finished", data=data), MESSAGE_END
    )
    assert links == TextDelta(f"\n\n{SHOWN}")
    assert isinstance(end, Finished)
    assert end.text == f"w1 w2\n\n{SHOWN}"


def test_a_text_that_was_taken_back_gets_no_links() -> None:
    frames = [event("workflow_started"), message("bad"), event("message_replace", answer="no")]
    frames += [event("workflow_finished", data={"status": "succeeded", "files": [PNG]}), MESSAGE_END]
    end = read_at("http://dify", AppMode.ADVANCED_CHAT, *frames)[-1]
    assert isinstance(end, Finished)
    assert (end.text, end.reason) == ("no", FinishReason.CONTENT_FILTER)


@pytest.mark.parametrize("streamed", [["![a.png](/files/tools/0a1b.png?sign=1)"], []])
def test_a_workflows_files_are_among_its_outputs(streamed: list[str]) -> None:
    data = {"status": "succeeded", "outputs": {"picture": PNG}, "files": [PNG]}
    frames = [event("workflow_started"), *map(chunk, streamed), event("workflow_finished", data=data)]
    events = read_at("http://dify", AppMode.WORKFLOW, *frames)
    assert text_of(events) == SHOWN
    assert isinstance(end := events[-1], Finished)
    assert (end.files, end.text) == ((LINK,), None)


@pytest.mark.parametrize("mode", [AppMode.AGENT, AppMode.AGENT_CHAT, AppMode.CHAT])
def test_the_closing_message_repeats_what_the_agent_said(mode: AppMode) -> None:
    said = event("agent_message", answer="said")
    thought = event("agent_thought", id="h", thought="said")
    assert text_of(read(mode, said, thought, message("said"), MESSAGE_END)) == "said"
    assert text_of(read(mode, event("agent_message", answer=""), message("said"), MESSAGE_END)) == "said"


def test_reasoning_is_no_text() -> None:
    reasoning = [event("reasoning_chunk", data={"reasoning": text}) for text in ("hm", "", None)]
    answer = read(AppMode.ADVANCED_CHAT, *reasoning, message("a"), MESSAGE_END)
    assert answer[:-1] == [ReasoningDelta("hm"), TextDelta("a")]


# --- replaced texts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "replacement", "after", "text", "reason", "settled"),
    [
        ("w1 w2 ", "w1 w2 ", "", "w1 w2 ", "stop", None),
        ("w1 w2 ", "w1 w2", "", "w1 w2 ", "stop", None),
        ("w1 ", "w1 w2", "", "w1 w2", "stop", None),
        ("w1 w2", "Blocked.", "", "w1 w2", "content_filter", "Blocked."),
        ("w1 w2", "", "", "w1 w2", "stop", ""),
        ("w1 w2", "Blocked.", " More.", "w1 w2", "content_filter", "Blocked. More."),
        ("", "Blocked.", "", "Blocked.", "content_filter", None),
        ("", "", "w1", "w1", "stop", None),
        ("w1 w2", None, "", "w1 w2", "stop", None),
    ],
)
def test_a_replaced_text(
    before: str, replacement: Any, after: str, text: str, reason: str, settled: str | None
) -> None:
    replace = event("message_replace", answer=replacement)
    answer = read(AppMode.CHAT, message(before), replace, message(after), MESSAGE_END)
    last = end_of(answer)
    assert (text_of(answer), last.reason.value, last.text) == (text, reason, settled)


def test_a_workflows_text_may_be_replaced() -> None:
    replace = event("text_replace", data={"text": "new"})
    last = end_of(read(AppMode.WORKFLOW, chunk("old"), replace, flow_finished({"text": "old"})))
    assert (last.text, last.reason) == ("new", FinishReason.STOP)


# --- workflows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chunks", "outputs", "text", "settled"),
    [
        pytest.param([], {"a": "x"}, "x", None, id="nothing streamed"),
        pytest.param([], {"a": {"k": "é"}, "b": None, "c": 1}, '{"k":"é"}\n\n1', None, id="other values"),
        pytest.param(["x "], {"a": "x "}, "x ", None, id="all streamed"),
        pytest.param(["x "], {"a": "x"}, "x ", None, id="stripped"),
        pytest.param(["x "], {"a": "x ", "q": "y"}, "x \ny", None, id="the rest was not streamed"),
        pytest.param(["x "], {"q": "y", "a": "x "}, "x ", "y\nx ", id="the first output was not streamed"),
        pytest.param(["x x y"], {"a": "x y"}, "x x y", "x y", id="garbled"),
        pytest.param(["- 1\n- 2"], {"a": [1, 2]}, "- 1\n- 2", None, id="a list in other words"),
        pytest.param(["True"], {"a": True}, "True", None, id="a boolean in other words"),
        pytest.param(["<think>h</think>x"], {"a": "x"}, "<think>h</think>x", "x", id="separated reasoning"),
        pytest.param(["x"], {}, "x", None, id="no outputs"),
        pytest.param(["x"], None, "x", None, id="null outputs"),
        pytest.param(["x"], "y", "x", None, id="strange outputs"),
    ],
)
def test_a_workflows_outputs_settle_its_text(chunks: list[str], outputs: Any, text: str, settled: str | None) -> None:
    answer = read(AppMode.WORKFLOW, flow_started(), *map(chunk, chunks), flow_finished(outputs))
    assert (text_of(answer), end_of(answer).text) == (text, settled)


def test_after_a_retry_even_a_list_is_better_than_the_stream() -> None:
    answer = read(AppMode.WORKFLOW, chunk("- 1"), RETRY, chunk("- 1\n- 2"), flow_finished({"a": [1, 2]}))
    assert end_of(answer).text == "[1,2]"


def test_a_configured_output_is_sent_whole() -> None:
    answer = read(AppMode.WORKFLOW, chunk("x"), chunk("y"), flow_finished({"a": "x", "b": "y"}), output_variable="b")
    assert answer == [TextDelta("y"), Finished()]


def test_a_configured_output_must_exist() -> None:
    answer = read(AppMode.WORKFLOW, flow_finished({}), output_variable="b")
    assert isinstance(answer[-1], Failed)
    assert answer[-1].error.message == "The workflow has no output 'b'. Its outputs: none."


def test_an_output_variable_is_for_workflows_only() -> None:
    replace = event("message_replace", answer="b")
    answer = read(AppMode.CHAT, message("a"), replace, MESSAGE_END, output_variable="b")
    assert (text_of(answer), end_of(answer).text) == ("a", "b")


def test_a_workflow_has_one_end() -> None:
    reader = AnswerReader(AppMode.WORKFLOW)
    receive(reader, flow_started(), chunk("x"), flow_finished({"a": "x"}))
    assert reader.complete


# --- chatflows --------------------------------------------------------------------------------------------------------


def test_the_stream_of_a_chatflow_is_right_where_its_outputs_differ() -> None:
    answer = read(AppMode.ADVANCED_CHAT, flow_started(), message("B A"), flow_finished({"answer": "A B"}), MESSAGE_END)
    assert (text_of(answer), end_of(answer).text) == ("B A", None)


def test_its_outputs_are_right_after_a_retry() -> None:
    events = [message("x "), RETRY, message("x y"), flow_finished({"answer": "x y"}), MESSAGE_END]
    assert end_of(read(AppMode.ADVANCED_CHAT, flow_started(), *events)).text == "x y"


def test_unless_an_iteration_spoke() -> None:
    inside = [event("iteration_started", data={}), message("1 2 "), event("iteration_completed", data={})]
    events = [*inside, RETRY, message("end"), flow_finished({"answer": "end"}), MESSAGE_END]
    assert end_of(read(AppMode.ADVANCED_CHAT, flow_started(), *events)).text is None
    silent = [inside[0], inside[2], message("x "), RETRY, message("y"), flow_finished({"answer": "y"}), MESSAGE_END]
    assert end_of(read(AppMode.ADVANCED_CHAT, flow_started(), *silent)).text == "y"


def test_its_outputs_are_sent_if_nothing_was_streamed() -> None:
    answer = read(AppMode.ADVANCED_CHAT, flow_started(), flow_finished({"answer": "whole"}), MESSAGE_END)
    assert text_of(answer) == "whole"


@pytest.mark.parametrize(
    "ends",
    [[flow_finished({"answer": "a"}, total=3), MESSAGE_END], [MESSAGE_END, flow_finished({"answer": "a"}, total=3)]],
)
def test_a_chatflow_ends_with_two_events_in_any_order(ends: list[Event]) -> None:
    reader = AnswerReader(AppMode.ADVANCED_CHAT)
    receive(reader, flow_started(), message("a"))
    assert not reader.settling
    assert receive(reader, ends[0]) == []
    assert reader.settling
    assert not reader.complete
    assert receive(reader, ends[1]) == [Finished(usage=Usage(2, 1, 3), workflow_run_id="r")]
    assert reader.complete
    assert not reader.settling


@pytest.mark.parametrize("end", [flow_finished({"answer": "a"}), MESSAGE_END])
def test_the_second_may_be_lost(end: Event) -> None:
    reader = AnswerReader(AppMode.ADVANCED_CHAT)
    receive(reader, flow_started(), message("a"), end)
    (finished,) = reader.receive_eof()
    assert isinstance(finished, Finished)
    assert finished.reason is FinishReason.STOP


def test_without_a_run_one_end_is_enough() -> None:
    reader = AnswerReader(AppMode.ADVANCED_CHAT)
    assert isinstance(receive(reader, message("annotated"), MESSAGE_END)[-1], Finished)


def test_an_error_after_the_first_end_still_fails() -> None:
    reader = AnswerReader(AppMode.ADVANCED_CHAT)
    receive(reader, flow_started(), message("a"), MESSAGE_END)
    (failed,) = receive(reader, {"event": "error", "code": "internal_server_error", "status": 500, "message": "x"})
    assert isinstance(failed, Failed)


# --- other ends -------------------------------------------------------------------------------------------------------


def test_an_error_needs_no_task_id() -> None:
    reader = AnswerReader(AppMode.CHAT)
    (failed,) = receive(reader, {"event": "error", "code": "completion_request_error", "status": 400, "message": "no"})
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, RunFailed)
    assert reader.complete


@pytest.mark.parametrize("mode", [AppMode.WORKFLOW, AppMode.ADVANCED_CHAT])
def test_a_failed_run_fails_at_once(mode: AppMode) -> None:
    for error in ("node broke", None, 5):
        reader = AnswerReader(mode)
        answer = receive(reader, flow_started(), flow_finished(status="failed", error=error))
        assert isinstance(answer[-1], Failed)
        assert isinstance(answer[-1].error, RunFailed)


@pytest.mark.parametrize("status", ["succeeded", "partial-succeeded", "", None])
def test_other_states_are_success(status: Any) -> None:
    assert end_of(read(AppMode.WORKFLOW, flow_finished({"a": "x"}, status))).reason is FinishReason.STOP


STOPS = [
    [flow_finished(None, "stopped", "Stopped by user."), MESSAGE_END],
    [flow_finished({}, "failed", "Aborted: User requested stop")],
    [{"event": "error", "code": "invalid_param", "message": "Run failed: Aborted: User requested stop"}],
]


@pytest.mark.parametrize("mode", [AppMode.WORKFLOW, AppMode.ADVANCED_CHAT])
@pytest.mark.parametrize("ends", STOPS)
def test_a_stop_is_a_short_answer_however_dify_calls_it(mode: AppMode, ends: list[Event]) -> None:
    said = chunk("w1 ") if mode is AppMode.WORKFLOW else message("w1 ")
    answer = read(mode, flow_started(), said, *ends)
    assert text_of(answer) == "w1 "
    assert (end_of(answer).reason, end_of(answer).text) == (FinishReason.LENGTH, None)


@pytest.mark.parametrize("mode", [AppMode.WORKFLOW, AppMode.ADVANCED_CHAT])
@pytest.mark.parametrize("ends", STOPS)
def test_a_stop_before_any_text_is_no_empty_answer(mode: AppMode, ends: list[Event]) -> None:
    failed = read(mode, flow_started(), *ends)[-1]
    assert isinstance(failed, Failed)
    assert (failed.error.code, failed.error.should_retry) == ("run_stopped", False)


@pytest.mark.parametrize(
    ("pause", "words"),
    [
        (event("human_input_required", data={"node_title": "Approval", "node_id": "hi"}), "'Approval'"),
        (event("workflow_paused", data={"reasons": [{"node_id": "hi"}]}), "'hi'"),
        (event("workflow_paused", data={"reasons": ["?"]}), "human's input,"),
        (event("workflow_paused", data={}), "human's input,"),
        (flow_finished({}, "paused"), "human's input,"),
    ],
)
def test_a_run_that_waits_for_a_human_fails(pause: Event, words: str) -> None:
    answer = read(AppMode.WORKFLOW, flow_started(), pause)
    assert isinstance(answer[-1], Failed)
    assert answer[-1].error.code == "human_input_required"
    assert words in answer[-1].error.message


def test_a_stream_without_an_end_is_truncated() -> None:
    answer = read(AppMode.CHAT, message("a"))
    assert isinstance(answer[-1], Failed)
    assert isinstance(answer[-1].error, UpstreamTruncated)


# --- a stream that broke and was taken up again -----------------------------------------------------------------------


def taken_up(mode: AppMode, before: list[Event], after: list[Event]) -> list[AnswerEvent]:
    """What follows Started."""
    reader = AnswerReader(mode)
    answer = receive(reader, flow_started(), *before)
    reader.lose_text()
    return [*answer, *receive(reader, *after), *reader.receive_eof()][1:]


def test_what_follows_a_gap_is_said_once_it_is_whole() -> None:
    after = [chunk("w5"), flow_finished({"text": "w1 w2 w3 w4 w5"})]
    answer = taken_up(AppMode.WORKFLOW, [chunk("w1 "), chunk("w2 ")], after)
    assert answer == [TextDelta("w1 "), TextDelta("w2 "), TextDelta("w3 w4 w5"), Finished(workflow_run_id="r")]


def test_a_chatflow_is_taken_up_too() -> None:
    ends = [flow_finished({"answer": "w1 w2 w3"}), MESSAGE_END]
    answer = taken_up(AppMode.ADVANCED_CHAT, [message("w1 ")], [message("w3"), *ends])
    assert text_of(answer) == "w1 w2 w3"
    assert end_of(answer).text is None
    assert end_of(answer).usage == Usage(2, 1, 3)


@pytest.mark.parametrize(
    "after", [[chunk("w3"), flow_finished({})], [chunk("w3"), flow_finished({"text": "other"})], []]
)
def test_a_gap_is_never_passed_over(after: list[Event]) -> None:
    *said, end = taken_up(AppMode.WORKFLOW, [chunk("w1 ")], after)
    assert said == [TextDelta("w1 ")]
    assert isinstance(end, Failed)
    assert isinstance(end.error, UpstreamTruncated)


def test_a_run_that_failed_meanwhile_fails_for_its_own_reason() -> None:
    answer = taken_up(AppMode.WORKFLOW, [chunk("w1 ")], [flow_finished(status="failed", error="boom")])
    assert isinstance(answer[-1], Failed)
    assert isinstance(answer[-1].error, RunFailed)


@given(st.text(max_size=30), st.integers(0, 30), st.integers(0, 30))
def test_wherever_the_gap_is_the_text_comes_out_whole(text: str, start: int, end: int) -> None:
    before, after = text[:start], text[max(start, end) :]
    answer = taken_up(AppMode.WORKFLOW, [chunk(before)], [chunk(after), flow_finished({"text": text})])
    assert text_of(answer).rstrip() == text.rstrip()
    assert end_of(answer).text is None


# --- why it ended -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([chunk("x", "llm", "text"), node_finished("llm", "length")], "length"),
        ([chunk("x", "llm", "text"), node_finished("llm", "MAX_TOKENS")], "length"),
        ([chunk("x", "llm", "text"), node_finished("llm", "stop")], "stop"),
        ([chunk("x", "llm", "text"), node_finished("llm", "length"), node_finished("judge", "stop")], "length"),
        ([chunk("x", "llm", "text"), node_finished("llm", "stop"), node_finished("judge", "length")], "stop"),
        ([node_finished("llm", "length"), chunk("x", "template", "output")], "length"),
        ([node_finished("llm", "length"), node_finished("llm2", "stop"), chunk("x", "t", "output")], "stop"),
        ([chunk("x", "llm", "text"), node_finished("llm", "length"), node_finished("llm", "stop")], "stop"),
        ([node_finished("a", "length"), node_finished("b", "stop"), node_finished("a", "length")], "length"),
        ([chunk("x", "llm", "text"), node_finished("llm", None)], "stop"),
        ([event("text_chunk", data={"text": "x", "from_variable_selector": {"a": 1}}), node_finished("a", 5)], "stop"),
    ],
)
def test_the_model_that_spoke_last_tells_why_the_text_ends(events: list[Event], reason: str) -> None:
    assert end_of(read(AppMode.WORKFLOW, *events, flow_finished({}))).reason.value == reason


# --- any input --------------------------------------------------------------------------------------------------------

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 99) | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=5,
)
DATA = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(
            ("text", "reasoning", "error", "node_id", "node_title", "reasons", "id", "process_data"), ANY_JSON
        ),
        "status": st.sampled_from(["succeeded", "failed", "stopped", "paused"]) | ANY_JSON,
        "outputs": st.fixed_dictionaries({}, optional=dict.fromkeys(("answer", "usage", "finish_reason"), ANY_JSON))
        | ANY_JSON,
        "total_tokens": ANY_JSON,
        "from_variable_selector": ANY_JSON,
    },
)
ANY_EVENT = st.fixed_dictionaries(
    {"event": st.sampled_from([*READERS, "ping", "brand_new"]) | ANY_JSON},
    optional={
        **dict.fromkeys(("task_id", "answer", "message", "code", "status", "from_variable_selector"), ANY_JSON),
        "data": DATA | ANY_JSON,
        "metadata": st.fixed_dictionaries({"usage": ANY_JSON}) | ANY_JSON,
    },
)


def check_order(answer: list[AnswerEvent], complete: bool) -> None:
    kinds = [type(item) for item in answer]
    assert kinds.count(Started) <= 1
    assert Started not in kinds[1:]
    assert complete is (kinds[-1:] in ([Finished], [Failed]))
    assert not {Finished, Failed} & set(kinds[:-1])
    assert all(item.text for item in answer if isinstance(item, TextDelta | ReasoningDelta))
    repr(answer).encode()


@given(st.sampled_from(AppMode), st.none() | ANY_TEXT, st.lists(ANY_EVENT, max_size=12))
def test_any_events_make_a_well_formed_answer(mode: AppMode, variable: str | None, events: list[Event]) -> None:
    reader = AnswerReader(mode, variable)
    answer: list[AnswerEvent] = []
    for item in events:
        answer += reader.receive_data(json.dumps(item).encode())
        check_order(answer, reader.complete)
    answer += reader.receive_eof()
    check_order(answer, True)


@given(st.sampled_from(AppMode), st.lists(st.binary(max_size=40), max_size=5))
def test_any_bytes_make_a_well_formed_answer(mode: AppMode, datas: list[bytes]) -> None:
    reader = AnswerReader(mode)
    answer = [item for data in datas for item in reader.receive_data(data)]
    check_order(answer + reader.receive_eof(), True)


@given(st.lists(st.text(max_size=30), max_size=20), st.booleans())
def test_any_text_comes_out_whole(deltas: list[str], escaped: bool) -> None:
    reader = AnswerReader(AppMode.CHAT)
    answer: list[AnswerEvent] = []
    for delta in deltas:
        answer += reader.receive_data(json.dumps(message(delta), ensure_ascii=escaped).encode())
    answer += receive(reader, event("message_replace", answer="".join(deltas).rstrip()), MESSAGE_END)
    assert text_of(answer) == "".join(deltas)
    assert end_of(answer).text is None
    assert end_of(answer).reason is FinishReason.STOP


def test_a_long_answer_is_compared_too() -> None:
    deltas = [f"word {number} " for number in range(20_000)]
    whole = "".join(deltas)
    answer = read(AppMode.WORKFLOW, *map(chunk, deltas), flow_finished({"text": whole, "more": "m"}))
    assert text_of(answer) == whole + "\nm"
    answer = read(AppMode.WORKFLOW, *map(chunk, deltas), flow_finished({"text": whole[1:]}))
    assert end_of(answer).text == whole[1:]


# --- what flows do ----------------------------------------------------------------------------------------------------


def test_nodes_are_named_when_they_start_if_asked() -> None:
    frames = [event(name, data={"title": name}) for name in ("node_started", "iteration_started", "loop_started")]
    frames += [event("node_started", data={"title": title}) for title in ("", None, 3)]
    assert receive(AnswerReader(AppMode.WORKFLOW), *frames) == [Started("t", "c", "m")]
    told = receive(AnswerReader(AppMode.WORKFLOW, tells_progress=True), *frames)
    assert told[1:] == [ReasoningDelta(f"\n• {name}_started") for name in ("node", "iteration", "loop")]


def test_each_node_s_reasoning_is_a_thought_of_its_own() -> None:
    said = [("a", "one"), ("a", " more"), ("b", "two")]
    frames = [event("reasoning_chunk", data={"node_id": node, "reasoning": text}) for node, text in said]
    told = receive(AnswerReader(AppMode.ADVANCED_CHAT), *frames)[1:]
    assert told == [ReasoningDelta("one", True), ReasoningDelta(" more"), ReasoningDelta("two", True)]


def test_an_agent_s_texts_are_parted_but_compared_without_the_gap() -> None:
    frames = [event("agent_thought", id="1"), event("agent_message", answer="Let me look.")]
    frames += [event("agent_thought", id="2"), event("agent_message", answer="Noon.")]
    events = read(AppMode.AGENT_CHAT, *frames, event("message_replace", answer="Let me look.Noon."), MESSAGE_END)
    assert text_of(events) == "Let me look.\n\nNoon."
    assert isinstance(events[-1], Finished)
    assert events[-1].reason is FinishReason.STOP


# --- a person is asked ------------------------------------------------------------------------------------------------

ASKED = {"form_token": "tok", "form_content": "Send?", "actions": [{"id": "yes", "title": "Yes"}]}
FORM = Form("tok", "r", "Send?", (), (FormAction("yes", "Yes"),))


def asks(**data: Any) -> Event:
    return event("human_input_required", workflow_run_id="r", data=data)


def paused(*reasons: Any) -> Event:
    return event("workflow_paused", workflow_run_id="r", data={"reasons": list(reasons), "total_tokens": 5})


@pytest.mark.parametrize(
    "frames",
    [
        [asks(**ASKED), paused(ASKED)],
        [asks(), paused(ASKED)],  # 1.14.0-rc1
        [asks(**ASKED), paused()],
        [paused({"TYPE": "other"}, ASKED)],
        [asks(**ASKED), paused({**ASKED, "form_token": "another"})],
    ],
)
@pytest.mark.parametrize("variable", [None, "text"])
def test_a_run_that_waits_for_a_person(frames: list[Event], variable: str | None) -> None:
    answer = read(AppMode.WORKFLOW, flow_started(), *frames, output_variable=variable)
    assert answer == [Finished(usage=Usage(0, 0, 5), workflow_run_id="r", form=FORM)]


def test_the_stream_may_end_without_the_pause() -> None:
    assert end_of(read(AppMode.ADVANCED_CHAT, flow_started(), message("Draft"), asks(**ASKED))).form == FORM


def test_a_resumed_chatflow_ends_with_two_events_too() -> None:
    reader = AnswerReader(AppMode.ADVANCED_CHAT)
    receive(reader, event("human_input_form_filled", workflow_run_id="r", data={}), message("Sent."))
    assert receive(reader, MESSAGE_END) == []
    (end,) = receive(reader, flow_finished({"answer": "Sent."}, total=3))
    assert end == Finished(usage=Usage(2, 1, 3), workflow_run_id="r")
