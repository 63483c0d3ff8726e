"""The reader against recordings of Dify 0.15.3 and 1.12.1, and hand-made ones of newer versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.dify_api.answer_reader import AnswerReader
from gateway.dify_api.app import AppMode
from gateway.dify_api.outputs import render_outputs
from gateway.errors import UpstreamTruncated
from gateway.exchange.answer import AnswerEvent, Failed, Finished, ReasoningDelta, Started, TextDelta, Usage
from gateway.exchange.forms.form import Form, FormAction
from gateway.sse import SSEDecoder

TRACES = Path(__file__).parents[2] / "traces"
STREAMS = sorted(TRACES.glob("*/*.sse"))


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def mode_of(path: Path) -> AppMode:
    return AppMode(json.loads(path.with_suffix(".json").read_bytes())["mode"])


def read(data: bytes, mode: AppMode, size: int, output_variable: str | None = None) -> list[AnswerEvent]:
    decoder, reader = SSEDecoder(), AnswerReader(mode, output_variable)
    events: list[AnswerEvent] = []
    for start in range(0, len(data), size):
        for event in decoder.feed(data[start : start + size]):
            events += reader.receive_data(event)
    for event in decoder.finish():
        events += reader.receive_data(event)
    return events + reader.receive_eof()


def read_trace(name: str, output_variable: str | None = None) -> list[AnswerEvent]:
    path = TRACES / f"{name}.sse"
    data = path.read_bytes()
    return read(data, mode_of(path), len(data) or 1, output_variable)


def streamed(events: list[AnswerEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def plain(events: list[AnswerEvent]) -> list[object]:
    """Comparable, which errors are not."""
    return [(type(e.error), e.error.code, e.error.message) if isinstance(e, Failed) else e for e in events]


@pytest.mark.parametrize("path", STREAMS, ids=name_of)
def test_every_recording_is_a_well_formed_answer(path: Path) -> None:
    events = read_trace(name_of(path))
    kinds = [type(event) for event in events]
    assert kinds[-1] in (Finished, Failed)
    assert not {Finished, Failed} & set(kinds[:-1])
    assert Started not in kinds[1:]
    assert kinds[0] is Started or kinds == [Failed]
    assert all(event.text for event in events if isinstance(event, TextDelta | ReasoningDelta))
    streamed(events).encode()


@pytest.mark.parametrize("eol", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize("size", [1, 2, 7, 1000, 10**9])
def test_the_answers_do_not_depend_on_how_bytes_arrive(size: int, eol: bytes) -> None:
    for path in STREAMS:
        data, mode = path.read_bytes(), mode_of(path)
        expected = plain(read(data, mode, len(data) or 1))
        assert plain(read(data.replace(b"\n", eol), mode, size)) == expected, name_of(path)


@pytest.mark.parametrize("trim", [1, 2], ids=["no blank line", "no line end"])
def test_the_last_event_needs_no_blank_line(trim: int) -> None:
    for path in STREAMS:
        data, mode = path.read_bytes(), mode_of(path)
        assert plain(read(data[:-trim], mode, 1000)) == plain(read(data, mode, 1000)), name_of(path)


ENDS = {"message_end", "workflow_finished", "workflow_paused", "human_input_required", "error"}


@pytest.mark.parametrize("version", ["0.15.3", "1.12.1", "1.16-handmade"])
def test_a_stream_that_breaks_off_before_its_end_is_truncated(version: str) -> None:
    for path in STREAMS:
        if path.parent.name != version or path.stat().st_size > 15_000:
            continue
        reader = AnswerReader(mode_of(path))
        events = [event for event in SSEDecoder().feed(path.read_bytes()) if json.loads(event)["event"] not in ENDS]
        for event in events:
            reader.receive_data(event)
            assert not reader.complete
            assert not reader.settling
        (last,) = reader.receive_eof()
        assert isinstance(last, Failed)
        assert isinstance(last.error, UpstreamTruncated)
        assert reader.complete
        assert reader.receive_eof() == []


# --- what the instructive ones say ------------------------------------------------------------------------------------

QR_CODE = (
    "![image](http://127.0.0.1:15001/files/tools/ecb5cc93-bace-47de-ae04-378c2c670c34.png"
    "?timestamp=1795329962&nonce=300ac598371e080a020a4584377aae97"
    "&sign=-_uVS-DxY9-pEI8NbqkKodBhhs_G3ch5e9GyIgxxcNw=)\n\n"
)
W3 = "w1 w2 w3 "
SEEN = "I see: [system:You are a test bot.\n] "
SPEECH = "This is one. Here is two! And three? Now four. Then five. Last six."
MIXED = '日本語と中文混在 😀👩\u200d👩\u200d👧\u200d👦 éñü \u2028العربية \u200b한국어 🚀\x07\t\\n "q" </script>終'
ITERATED = "[0 red: w1 w2 w3 ]\n[1 green: w1 w2 w3 ]\n[2 blue: w1 w2 w3 ]\nResult: "
FILES = "[a.pdf](http://127.0.0.1:15180/file/a.pdf)\n![a.png](http://127.0.0.1:15180/file/a.png)\n"
FILES += "[a.txt](http://127.0.0.1:15180/file/a.txt)\n[a.mp3](http://127.0.0.1:15180/file/a.mp3)"

# recording: streamed text, finish reason, usage, settled text
FINISHED: dict[str, tuple[str, str, tuple[int, int, int] | None, str | None]] = {
    "0.15.3/chat_stream": (W3, "stop", (13, 3, 16), None),
    "1.12.1/chat_stream": (W3, "stop", (13, 3, 16), None),
    "0.15.3/vision_local": (SEEN + "[user:see [[echo]]\n] images=1 tools=0", "stop", (13, 4, 17), None),
    "1.12.1/vision_local": (SEEN + "[user:\nsee [[echo]]] images=1 tools=0", "stop", (13, 4, 17), None),
    "1.12.1/multi_completion_stream": (
        "I see: [user:\n\nWrite about: see [[echo]]\n] images=1 tools=0",
        "stop",
        (7, 3, 10),
        None,
    ),
    "0.15.3/agent_stream_tool": (W3, "stop", (38, 4, 42), None),
    "1.12.1/agent_stream_tool": (W3, "stop", (38, 4, 42), None),
    "0.15.3/agent_stream_tool_pretext": ("Let me look that up.\n\n" + W3, "stop", (40, 6, 46), None),
    "1.12.1/agent_stream_tool_pretext": ("Let me look that up.\n\n" + W3, "stop", (45, 6, 51), None),
    "0.15.3/agent_stream_qrcode_file": (QR_CODE + W3, "stop", (60, 4, 64), None),
    "0.15.3/agent_react_stream": (
        'Thought: done Action: {"action":"Final Answer","action input":"forty-two"} ',
        "stop",
        (13, 6, 19),
        None,
    ),
    "1.12.1/agent_react_stream": (
        'Thought: done Action: {"action":"Final Answer","action input":"forty-two"} ',
        "stop",
        (13, 6, 19),
        None,
    ),
    "0.15.3/mod_clean": (W3, "stop", (13, 3, 16), None),
    "1.12.1/mod_clean": (W3, "stop", (13, 3, 16), None),
    "1.12.1/think_chat": ("<think>hmm let me think</think>\n\nw1 w2 ", "stop", (14, 8, 22), None),
    "1.12.1/think_chatflow": ("<think>hmm let me think</think>\n\nw1 w2 ", "stop", (14, 8, 22), None),
    "0.15.3/flow_retry_ok": ("A: " + W3, "stop", (13, 3, 16), None),
    "0.15.3/flow_retry_cut_midstream": ("A: " + W3, "stop", (0, 0, 0), None),
    "1.12.1/flow_retry_cut_midstream": (f"A: {W3}{W3}{W3}DEFAULT TEXT", "stop", (0, 0, 0), "A: DEFAULT TEXT"),
    "0.15.3/flow_iter_stream": (f"Result: {W3}\n{W3}\n{W3}", "stop", (45, 9, 54), None),
    "1.12.1/flow_iter_stream": (f"Result: - {W3}\n- {W3}\n- {W3}", "stop", (45, 9, 54), None),
    "1.12.1/flow_iter_par_stream": (f"Result: - {W3}\n- {W3}\n- {W3}", "stop", (45, 9, 54), None),
    "0.15.3/flow_iter_answer_stream": (ITERATED + f"{W3}\n{W3}\n{W3}", "stop", (45, 9, 54), None),
    "1.12.1/flow_iter_answer_stream": (ITERATED + f"- {W3}\n- {W3}\n- {W3}", "stop", (45, 9, 54), None),
    "1.12.1/flow_iter_continue_fail": ("Result: - None\n- None\n- None", "stop", (0, 0, 0), None),
    "1.12.1/flow_loop_stream": ("Count: 3", "stop", (48, 9, 57), None),
    "1.12.1/flow_loop_answer_stream": (f"[0: {W3}]\n[1: {W3}]\n[2: {W3}]\nCount: 3", "stop", (48, 9, 57), None),
    "0.15.3/flow_hidden_stream": ("w1 w2 w3 w4 ", "stop", (27, 8, 35), None),
    "1.12.1/chatflow2_stream": (
        "Part one: w1 w2 w3 w4 w5 \n\n---\nPart two: w1 w2 w3 w4 w5 w6 \n(end)",
        "stop",
        (36, 11, 47),
        None,
    ),
    "0.15.3/kb_chat_stream": ("w1 w2 w3 w4 ", "stop", (149, 4, 153), None),
    "1.12.1/kb_agent_dataset_tool": ("w1 w2 w3 w4 ", "stop", (114, 6, 120), None),
    "1.12.1/kb_chatflow_nohit": ("w1 w2 ", "stop", (12, 2, 14), None),
    "0.15.3/wf_concat": (W3 + "\nx [[n=3]]", "stop", (13, 3, 16), None),
    "1.12.1/wf_concat": (W3 + "\nx [[n=3]]", "stop", (13, 3, 16), None),
    "0.15.3/workflow2_stream": (f"{W3}\n{W3}", "stop", (27, 6, 33), None),
    "1.12.1/workflow2_stream": (f"{W3}\n{W3}", "stop", (27, 6, 33), None),
    "0.15.3/workflow_notext_stream": ("just echo", "stop", (0, 0, 0), None),
    "1.12.1/workflow_notext_stream": ("just echo", "stop", (0, 0, 0), None),
    "0.15.3/workflow_iter_stream": ('["w1 w2 w3 ","w1 w2 w3 ","w1 w2 w3 "]', "stop", (461, 10, 471), None),
    "1.12.1/workflow_iter_stream": (f"- {W3}\n- {W3}\n- {W3}", "stop", (319, 10, 329), None),
    "0.15.3/workflow_iter_badjson": ("", "stop", (419, 3, 422), None),
    "0.15.3/params_wf_all": (f"Ann\nt\nkind\n3\n{FILES}", "stop", (0, 0, 0), None),
    "1.12.1/params_wf_all": (
        f'Ann\nt\nkind\n3\n{FILES}\nTrue\n{{\n  "a": [\n    1,\n    2\n  ]\n}}',
        "stop",
        (0, 0, 0),
        None,
    ),
    "0.15.3/llm_empty_chat": ("", "stop", (13, 1, 14), None),
    "0.15.3/llm_empty_workflow": ("\nx [[empty]]", "stop", (13, 1, 14), None),
    "0.15.3/stop_chat": ("w1 w2 w3 w4 w5 ", "stop", (33, 19, 52), None),
    "1.12.1/stop_chatflow": ("w1 w2 w3 w4 w5 w6 ", "length", (0, 0, 0), None),
    "0.15.3/stop_workflow": ("w1 w2 w3 w4 w5 ", "length", (0, 0, 0), None),
    "0.15.3/tts_auto_chat": (SPEECH, "stop", (14, 14, 28), None),
    "1.12.1/tts_auto_agent_tool": (SPEECH, "stop", (38, 15, 53), None),
    "1.12.1/tts_auto_workflow": (SPEECH, "stop", (14, 14, 28), None),
    "0.15.3/unicode_chat": (MIXED, "stop", (15, 18, 33), None),
    "1.12.1/unicode_chat": (MIXED, "stop", (15, 18, 33), None),
    "0.15.3/odd_nel_chat": ("one nel\x85nel two", "stop", (13, 3, 16), None),
    "0.15.3/odd_surr_chatflow": ("x 😀 y", "stop", (13, 4, 17), None),
    "0.15.3/odd_crlf_chatflow": ("line1\r\nline2\rline3\n\n\nline4\r\n\r\n", "stop", (13, 6, 19), None),
    "1.12.1/odd_inj_chat": (
        'one\n\ndata: {"event": "message_end"}\n\nevent: ping\n\ndata: [DONE]\n\n: comment\n\r\n\r\n0\r\n\r\nlast',
        "stop",
        (13, 7, 20),
        None,
    ),
    "0.15.3/ping_chat": (W3, "stop", (14, 3, 17), None),
    "1.12.1/silent30_agent": (W3, "stop", (14, 3, 17), None),
    "1.12.1/xv_wf_by_id": ("w1 \nx [[n=1]]", "stop", (13, 1, 14), None),
    "1.16-handmade/chatflow_end_first": ("Hello!", "stop", (20, 4, 24), None),
    "1.16-handmade/chatflow_end_lost": ("Hello!", "stop", (20, 4, 24), None),
    "1.16-handmade/chatflow_finished_lost": ("Hello!", "stop", (20, 4, 24), None),
    "1.16-handmade/chatflow_annotation": ("Annotated.", "stop", (0, 0, 0), None),
    "1.16-handmade/chatflow_moderated": ("Something bad", "content_filter", (20, 2, 22), "Blocked."),
    "1.16-handmade/agent_closing_message": ("Let me look. \n\nIt is 3 °C.", "stop", (45, 9, 54), None),
    "1.16-handmade/agent_only_closing_message": ("It is 3 °C.", "stop", (45, 9, 54), None),
    "1.16-handmade/workflow_two_outputs": ("Bonjour\n0.93", "stop", (10, 1, 11), None),
    "1.16-handmade/workflow_length": ("Cut of", "length", (15, 3, 18), None),
    "1.16-handmade/workflow_unknown_events": ("ok", "stop", (0, 0, 7), None),
}

# recording: streamed text, error class, code
FAILED = {
    "0.15.3/llm400_chat_stream": ("", "RunFailed", "run_failed"),
    "0.15.3/llm401_chat_stream": ("", "RunFailed", "provider_auth_failed"),
    "1.12.1/llm401_chat_stream": ("", "RunFailed", "provider_auth_failed"),
    "1.12.1/llm401_chatflow_stream": ("", "RunFailed", "provider_auth_failed"),
    "1.12.1/llm401_workflow_stream": ("", "RunFailed", "provider_auth_failed"),
    "0.15.3/llm429_agent_stream": ("", "RateLimited", "provider_rate_limited"),
    "1.12.1/llm429_chatflow_stream": ("", "RateLimited", "provider_rate_limited"),
    "1.12.1/llm429_workflow_stream": ("", "RateLimited", "provider_rate_limited"),
    "1.12.1/llm429_completion_stream": ("", "RateLimited", "provider_rate_limited"),
    "0.15.3/llm500_chatflow_stream": ("", "RunFailed", "run_failed"),
    "1.12.1/llm500_workflow_stream": ("", "RunFailed", "run_failed"),
    "0.15.3/llmcut_chat_stream": (W3, "RunFailed", "run_failed"),
    "1.12.1/llmcut_agent_stream": (W3, "RunFailed", "run_failed"),
    "1.12.1/llmcut_chatflow_stream": (W3, "RunFailed", "run_failed"),
    "1.12.1/llmcut_workflow_stream": (W3, "RunFailed", "run_failed"),
    "0.15.3/flow_iter_cut": ("[0 red: w1 w2 ", "RunFailed", "run_failed"),
    "1.12.1/flow_iter_fail": ("", "RunFailed", "run_failed"),
    "1.12.1/flow_loop_fail": ("", "RunFailed", "run_failed"),
    "1.12.1/odd_nel_chat": ("one ", "RunFailed", "run_failed"),
    "0.15.3/odd_surr_chat": ("x 😀 y", "UpstreamTruncated", "upstream_truncated"),
    "0.15.3/odd_surr_agent": ("x 😀 y", "RunFailed", "run_failed"),
    "0.15.3/vision_remote_404": ("", "RunFailed", "run_failed"),
    "0.15.3/big_query_1MB": ("", "InvalidRequest", "context_length_exceeded"),
    "1.12.1/disc_chat": ("w1 w2 w3 w4 w5 ", "UpstreamTruncated", "upstream_truncated"),
    "1.12.1/tts_auto_chat_fail": ("", "RunFailed", "run_failed"),
    "0.15.3/flow_iter_stop": ("", "RunFailed", "run_stopped"),
    "1.12.1/flow_loop_stop": ("", "RunFailed", "run_stopped"),
    "1.12.1/stoprace_iter_0": ("", "RunFailed", "run_stopped"),
    "1.12.1/stoprace_iter_1": ("", "RunFailed", "run_stopped"),
    "1.12.1/stoprace_loop_3": ("", "RunFailed", "run_stopped"),
    "1.16-handmade/chatflow_failed_no_error": ("Part", "RunFailed", "run_failed"),
}


@pytest.mark.parametrize("name", FINISHED)
def test_finished_answers(name: str) -> None:
    events = read_trace(name)
    last = events[-1]
    assert isinstance(last, Finished)
    usage = last.usage and (last.usage.prompt_tokens, last.usage.completion_tokens, last.usage.total_tokens)
    assert (streamed(events), last.reason.value, usage, last.text) == FINISHED[name]


@pytest.mark.parametrize("name", FAILED)
def test_failed_answers(name: str) -> None:
    events = read_trace(name)
    last = events[-1]
    assert isinstance(last, Failed)
    assert (streamed(events), type(last.error).__name__, last.error.code) == FAILED[name]


def test_ids_are_told_with_the_first_event() -> None:
    flow = read_trace("1.12.1/chatflow_stream")[0]
    assert isinstance(flow, Started)
    assert all((flow.task_id, flow.conversation_id, flow.message_id, flow.workflow_run_id))
    chat = read_trace("0.15.3/chat_stream")[0]
    assert isinstance(chat, Started)
    assert all((chat.task_id, chat.conversation_id, chat.message_id))
    workflow = read_trace("0.15.3/workflow_stream")[0]
    assert isinstance(workflow, Started)
    assert (workflow.conversation_id, workflow.message_id) == (None, None)
    assert workflow.workflow_run_id


CLOCK = '→ current_time {"timezone":"UTC"}\n← '
WHALES = "The blue whale is the largest animal on earth. A blue whale can be 30 metres long"
THOUGHT = {
    "0.15.3/agent_stream_notool": "",
    "1.12.1/agent_stream_notool": "",
    "0.15.3/agent_stream_tool": CLOCK + "2026-11-22 06:45:58",
    "1.12.1/agent_stream_tool": CLOCK + "2026-11-22 06:50:17",
    "0.15.3/agent_stream_tool_pretext": CLOCK + "2026-11-22 06:45:58",
    "1.12.1/agent_stream_tool_pretext": CLOCK + "2026-11-22 06:50:19",
    "0.15.3/agent_react_stream": "",
    "1.12.1/kb_agent_stream": CLOCK + "2026-11-22 08:18:42",
    "1.16-handmade/agent_closing_message": "I need the weather→ weather\n← 3 CNow I know",
}


@pytest.mark.parametrize("name", THOUGHT)
def test_what_agents_did_is_told_once(name: str) -> None:
    told = [event for event in read_trace(name) if isinstance(event, ReasoningDelta)]
    assert "".join(event.text for event in told) == THOUGHT[name]


def test_an_agent_s_look_into_its_knowledge_is_told() -> None:
    told = "".join(e.text for e in read_trace("1.12.1/kb_agent_dataset_tool") if isinstance(e, ReasoningDelta))
    tool = "dataset_7f2d9bd1_2e9a_4055_8d99_d1faf0fe6ec7"
    clock, call, result = told.split("→ ")[1], *told.split("→ ")[2].split("\n← ")
    assert clock.startswith("current_time ")
    assert call.startswith(tool + " {")
    assert result.startswith(WHALES)


CITED = {  # document, knowledge, score
    "0.15.3/kb_chat_stream": [("whales.txt", "lab-whales"), ("krill.md", "lab-whales"), ("ships.txt", "lab-whales")],
    "1.12.1/kb_chat_stream": [("whales.txt", "lab-whales"), ("ships.txt", "lab-whales"), ("krill.md", "lab-whales")],
    "0.15.3/kb_chat_nohit": [],
    "1.12.1/kb_chatflow_nohit": [],
    "1.12.1/kb_chatflow_nocite": [],
    "1.12.1/kb_workflow_stream": [
        ("second.txt", "lab-second"),
        ("whales.txt", "lab-whales"),
        ("ships.txt", "lab-whales"),
        ("krill.md", "lab-whales"),
    ],
}


@pytest.mark.parametrize("name", CITED)
def test_what_an_answer_rests_on(name: str) -> None:
    end = read_trace(name)[-1]
    assert isinstance(end, Finished)
    assert [(one.document_name, one.dataset_name) for one in end.citations] == CITED[name]
    assert [one.position for one in end.citations] == list(range(1, len(end.citations) + 1))
    assert all(one.content and one.segment_id and one.score is not None for one in end.citations)


def test_a_workflow_s_switch_for_citations_is_followed() -> None:
    path = TRACES / "1.12.1/kb_workflow_stream.sse"
    reader = AnswerReader(mode_of(path), cites=False)
    events = [told for frame in SSEDecoder().feed(path.read_bytes()) for told in reader.receive_data(frame)]
    assert isinstance(events[-1], Finished)
    assert events[-1].citations == ()


def test_a_paused_run_tells_what_it_waits_for() -> None:
    events = read_trace("1.16-handmade/workflow_pause")
    assert streamed(events) == "Draft"
    assert events[-1] == Finished(
        usage=Usage(0, 0, 24),
        workflow_run_id="r-5",
        form=Form("tok_1", "r-5", "Send it?", (), (FormAction("approve", "Approve"),)),
    )


def test_reasoning_is_told_apart() -> None:
    events = read_trace("1.16-handmade/chatflow_end_first")
    assert events[1:3] == [ReasoningDelta("User ", begins=True), ReasoningDelta("greets")]


@pytest.mark.parametrize(
    ("name", "variable", "text"),
    [
        ("0.15.3/wf_concat", "text", W3),
        ("1.12.1/wf_concat", "text", W3),
        ("1.12.1/wf_concat", "q", "x [[n=3]]"),
        ("1.12.1/workflow_iter_stream", "out", '["w1 w2 w3 ","w1 w2 w3 ","w1 w2 w3 "]'),
        ("1.12.1/params_wf_all", "cfg", '{"a":[1,2]}'),
        ("1.12.1/params_wf_all", "age", "3"),
        ("1.12.1/params_wf_min", "age", ""),
    ],
)
def test_a_configured_output_is_the_answer(name: str, variable: str, text: str) -> None:
    events = read_trace(name, variable)
    assert streamed(events) == text
    assert len(events) == (3 if text else 2)


def test_a_configured_output_that_is_missing_is_named_with_those_that_exist() -> None:
    last = read_trace("1.12.1/wf_concat", "answer")[-1]
    assert isinstance(last, Failed)
    assert last.error.message == "The workflow has no output 'answer'. Its outputs: 'text', 'q'."


def test_a_stopped_run_has_no_configured_output() -> None:
    last = read_trace("1.12.1/stop_workflow", "text")[-1]
    assert isinstance(last, Failed)
    assert last.error.code == "run_stopped"


# --- the blocking twins -----------------------------------------------------------------------------------------------

UNLIKE = {
    "0.15.3/kb_workflow": "two retrievals, whose scores and ids differ",
    "1.12.1/kb_workflow": "a list, which Dify streams in another form than JSON",
    "1.12.1/workflow_iter": "a list, which Dify streams in another form than JSON",
    "1.12.1/multi_completion": "the turns had other files",
}


def twins() -> list[tuple[str, Path, Path]]:
    found = []
    for path in STREAMS:
        stem = path.stem.removesuffix("_stream")
        twin = path.with_name(f"{stem}_block.body")
        if twin.exists() and _question(path) == _question(twin) and _succeeded(twin):
            found.append((f"{path.parent.name}/{stem}", path, twin))
    return found


def _succeeded(path: Path) -> bool:
    return " 200 " in json.loads(path.with_suffix(".json").read_bytes())["response"]["status_line"]


def _question(path: Path) -> object:
    recording: dict[str, Any] = json.loads(path.with_suffix(".json").read_bytes())
    body = recording["request"]["body"]
    body = body if isinstance(body, dict) else {}
    return recording["app"], body.get("query"), body.get("inputs"), bool(body.get("files")), body.get("conversation_id")


@pytest.mark.parametrize(("name", "path", "twin"), [pytest.param(*row, id=row[0]) for row in twins()])
def test_the_collected_answer_is_the_blocking_one(name: str, path: Path, twin: Path) -> None:
    events, body = read_trace(name_of(path)), json.loads(twin.read_bytes())
    last, data = events[-1], body.get("data", {})
    if isinstance(last, Failed):
        assert data.get("status") == "failed" or "surr" in name  # Dify could not store a surrogate from the stream
        return
    assert isinstance(last, Finished)
    collected = streamed(events) if last.text is None else last.text
    expected = body["answer"] if "answer" in body else render_outputs(data["outputs"])
    assert (collected == expected) is (name not in UNLIKE)


def test_there_are_twins() -> None:
    assert len(twins()) > 40
