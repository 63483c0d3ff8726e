"""The quick way of reading text events gives what decoding them in full gives, or is not taken."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import ujson
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.dify_api.answer_reader import AnswerReader
from gateway.dify_api.app import AppMode
from gateway.dify_api.event_readers import READERS, SAYERS
from gateway.dify_api.text_template import TEXT_EVENTS, TextTemplate
from gateway.exchange.answer import AnswerEvent, Failed, coalesced
from gateway.sse import SSEDecoder

TRACES = Path(__file__).parents[2] / "traces"
STREAMS = sorted(TRACES.glob("*/*.sse"))

IDS = {"task_id": "t", "conversation_id": "c", "message_id": "m"}
MESSAGE = {"event": "message", **IDS, "created_at": 1, "answer": "first", "from_variable_selector": None}
CHUNK = {"event": "text_chunk", **IDS, "data": {"text": "first", "from_variable_selector": ["17", "text"]}}


def encode(event: Any) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def comparable(answer: list[AnswerEvent]) -> list[object]:
    return [(e.error.code, e.error.message) if isinstance(e, Failed) else e for e in coalesced(answer)]


def sse(frame: bytes) -> bytes:
    """The event that has this data."""
    return b"".join(b"data: " + line + b"\n" for line in frame.split(b"\n")) + b"\n"


def read_in_full(data: bytes, mode: AppMode) -> tuple[list[object], int]:
    reader, decoder = AnswerReader(mode), SSEDecoder()
    frames = decoder.feed(data) + decoder.finish()
    answer = [event for frame in frames for event in reader.receive_data(frame)]
    return comparable(answer + reader.receive_eof()), reader.events_seen


def read_quickly(reads: list[bytes], mode: AppMode) -> tuple[list[object], int]:
    reader = AnswerReader(mode)
    answer = [event for read in reads for event in reader.receive(read)]
    return comparable(answer + reader.receive_eof()), reader.events_seen


def in_reads(frames: list[bytes], batch: int) -> list[bytes]:
    return [b"".join(map(sse, frames[start : start + batch])) for start in range(0, len(frames), batch)]


@pytest.mark.parametrize("batch", [1, 3, 1000])
@pytest.mark.parametrize("path", STREAMS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_recording_reads_the_same_either_way(path: Path, batch: int) -> None:
    mode = AppMode(json.loads(path.with_suffix(".json").read_bytes())["mode"])
    data = path.read_bytes()
    decoder = SSEDecoder()
    reads = in_reads(decoder.feed(data) + decoder.finish(), batch)
    assert read_quickly(reads, mode) == read_in_full(data, mode)


@pytest.mark.parametrize("size", [7, 300, 4096])
def test_recordings_that_are_cut_anywhere_read_the_same_either_way(size: int) -> None:
    for path in STREAMS:
        mode = AppMode(json.loads(path.with_suffix(".json").read_bytes())["mode"])
        data = path.read_bytes()
        reads = [data[start : start + size] for start in range(0, len(data), size)]
        assert read_quickly(reads, mode) == read_in_full(data, mode), path


def test_the_recordings_are_mostly_read_quickly() -> None:
    texts = quick = 0
    for path in STREAMS:
        template = TextTemplate()
        for frame in SSEDecoder().feed(path.read_bytes()):
            if template.text_of(frame) is not None:
                assert template.texts_of(sse(frame)) == (template.text_of(frame), 1)
                texts, quick = texts + 1, quick + 1
                continue
            try:
                event = ujson.loads(frame)
            except ValueError:
                continue
            if isinstance(event, dict) and event.get("event") in TEXT_EVENTS:
                texts += 1
                template.learn(frame, event)
    assert quick > 0.7 * texts > 1000  # the rest begins a stream or a node


@pytest.mark.parametrize("first", [MESSAGE, {**MESSAGE, "event": "agent_message"}, CHUNK], ids=lambda e: e["event"])
@pytest.mark.parametrize(
    "text", ["a", "", "中文 😀", 'say "so"\n\\', "\ud83d", "ends in \\", "\u2028\x7f", "tab\t", '"']
)
def test_a_text_is_told_as_it_is(first: dict[str, Any], text: str) -> None:
    place = first.get("data", first)
    key = "text" if "data" in first else "answer"
    event = {**first, "data": {**place, key: text}} if "data" in first else {**first, key: text}
    template = TextTemplate()
    assert template.learn(encode(first), ujson.loads(encode(first)))
    for data in (encode(event), encode(event).replace(b'"first"', b""), json.dumps(event).encode()):
        told = template.text_of(data)
        assert told is None or told == text
    assert template.selector == place["from_variable_selector"]
    if text < "\ud800" or text > "\udfff":  # half a surrogate pair has no UTF-8
        assert template.text_of(encode(event)) == text
        assert template.texts_of(sse(encode(event))) == (text, 1)
        assert template.texts_of(sse(encode(event)) * 3) == (text * 3, 3)


@pytest.mark.parametrize(
    "data",
    [
        b'{"event":"message","answer":"a","answer":"b"}',  # which of them counts is the decoder's business
        b'{"event":"message","x":{"answer":"a"}}',
        b'{"event":"message","answer":7}',
        b'{"event":"message","answer":null,"x":"\\"answer\\":\\"a\\""}',
        b'{"event":"text_chunk","answer":"a"}',
        b'{"event":"text_chunk","data":"text"}',
        b'{"event":"text_chunk","data":{"text":"a"},"more":{"text":"b"}}',
        b'{"event":"text_chunk","data":{"text":"a"},"data":{"x":1}}',
        b'{"event":"message","\\u0061nswer":"a"}',
        b'{"event":"message","\\u0061nswer":"a","x":{"answer":"b"}}',  # found, but not the text
        b'{"event":"message","x":{"answer":"b"},"\\u0061nswer":"b"}',
        b'{"event":"text_chunk","data":{"\\u0074ext":"a"},"more":{"text":"a"}}',
        b'{"event":"message",\n"answer":"a"}',  # an event of two lines
        b'{"event":"message","answer":"a",\r"x":1}',
    ],
)
def test_where_the_text_is_not_certain_nothing_is_learned(data: bytes) -> None:
    template = TextTemplate()
    assert not template.learn(data, ujson.loads(data))
    assert template.text_of(data) is None
    assert template.texts_of(sse(data)) is None


@pytest.mark.parametrize("junk", [b"", b"\xff", b"\xff\n\n", b"\xff\xfe"])
def test_before_a_first_event_nothing_is_read_quickly(junk: bytes) -> None:
    read = junk + sse(encode(MESSAGE)) + sse(encode(MESSAGE))
    assert TextTemplate().texts_of(read) is TextTemplate().text_of(read) is None
    assert read_quickly([read], AppMode.CHAT) == read_in_full(read, AppMode.CHAT)


def test_every_text_event_is_read_by_both_ways() -> None:
    assert TEXT_EVENTS.keys() == SAYERS.keys() < READERS.keys()


@pytest.mark.parametrize(
    "read",
    [
        sse(encode(MESSAGE)) + sse(encode({"event": "ping"})),
        sse(encode(MESSAGE)) + b": comment\n\n" + sse(encode(MESSAGE)),
        sse(encode(MESSAGE)) + sse(encode(CHUNK)) + sse(encode(MESSAGE)),
        sse(encode(MESSAGE)) + b"\n" + sse(encode(MESSAGE)),
        sse(encode(MESSAGE)).replace(b"first", b"one\ndata: two") * 2,
        sse(encode(MESSAGE)).replace(b"first", b"one\rdata: two"),
        sse(encode(MESSAGE)).replace(b"\n", b"\r\n"),
        sse(encode(MESSAGE))[:-1],
        sse(encode(MESSAGE))[:50] + sse(encode(MESSAGE))[-50:],
        b"",
    ],
)
def test_a_read_that_is_not_all_text_is_decoded(read: bytes) -> None:
    template = TextTemplate()
    assert template.learn(encode(MESSAGE), ujson.loads(encode(MESSAGE)))
    assert template.texts_of(read) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
TEXTS = st.text(max_size=6) | st.sampled_from(['","answer":"x', '"', "\\", '\\"', '"}', '\n\n"', "\\u0041", "\x00"])
EVENTS = st.one_of(
    st.builds(lambda text: {**MESSAGE, "answer": text}, TEXTS),
    st.builds(lambda text: {**MESSAGE, "event": "agent_message", "answer": text}, TEXTS),
    st.builds(lambda text: {**CHUNK, "data": {**CHUNK["data"], "text": text}}, TEXTS),  # type: ignore[dict-item]
    st.builds(lambda text, more: {**MESSAGE, "answer": text, **more}, TEXTS, st.dictionaries(st.text(), JSON)),
    st.builds(lambda answer: {"answer": answer, **{k: v for k, v in MESSAGE.items() if k != "answer"}}, TEXTS | JSON),
    st.sampled_from([{"event": "message_replace", **IDS, "answer": "n"}, {"event": "message_end", **IDS}, 7, {}]),
)
WRITERS = st.sampled_from([encode, lambda event: json.dumps(event).encode(), lambda e: encode(e).replace(b'"', b"", 1)])
FRAMES = st.builds(lambda event, writer: writer(event), EVENTS, WRITERS)


@given(st.lists(FRAMES, max_size=12), st.sampled_from(list(AppMode)), st.integers(1, 5))
@example([encode(MESSAGE), encode(MESSAGE).replace(b"first", b"raw\nbreak \x01 \xff")], AppMode.CHAT, 2)
@example([encode(MESSAGE), encode(MESSAGE).replace(b"first", b'a","x":"b')], AppMode.CHAT, 1)
@example([encode(MESSAGE), encode(MESSAGE).replace(b"first", b"a\\")], AppMode.CHAT, 1)
@example([encode(MESSAGE), encode(MESSAGE).replace(b"first", b"\\ud83d"), encode(MESSAGE)], AppMode.CHAT, 9)
def test_any_events_read_the_same_either_way(frames: list[bytes], mode: AppMode, batch: int) -> None:
    reads = in_reads(frames, batch)
    assert read_quickly(reads, mode) == read_in_full(b"".join(reads), mode)


@given(st.lists(st.binary(max_size=6) | TEXTS.map(lambda text: text.encode("utf-8", "replace")), max_size=6))
@example([b"a\xc3", b"\xa9b"])
@example([b"a\\", b"nb"])
@example([b"\\ud83d", b"\\ude00"])
@example([b"a\n\ndata: ", b"b"])
def test_any_bytes_in_the_texts_places_of_one_read_are_what_they_are_apart(texts: list[bytes]) -> None:
    read = b"".join(sse(encode(MESSAGE)).replace(b"first", text) for text in texts)
    template = TextTemplate()
    assert template.learn(encode(MESSAGE), ujson.loads(encode(MESSAGE)))
    found = template.texts_of(read)
    if found is not None:
        told = [template.text_of(frame) for frame in SSEDecoder().feed(read)]
        assert found == ("".join(map(str, told)), len(texts))
        assert None not in told


@given(st.binary(max_size=12))
def test_any_bytes_in_the_texts_place_are_read_as_the_decoder_reads_them(text: bytes) -> None:
    first = encode(MESSAGE)
    template = TextTemplate()
    assert template.learn(first, ujson.loads(first))
    data = first.replace(b"first", text)
    told = template.text_of(data)
    if told is not None:
        assert ujson.loads(data) == {**MESSAGE, "answer": told}


@pytest.mark.parametrize(
    "text", ["w" * 600_000, "\\n" * 300_000, "w\\u00e9" * 80_000], ids=["plain", "breaks", "accents"]
)
def test_a_long_text_costs_a_few_times_its_size(text: str) -> None:
    """Events of 20 MB were seen; the gateway serves others meanwhile."""
    data = encode(MESSAGE).replace(b"first", text.encode())
    event = ujson.loads(data)
    tracemalloc.start()
    try:
        assert TextTemplate().learn(data, event)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * len(data)
