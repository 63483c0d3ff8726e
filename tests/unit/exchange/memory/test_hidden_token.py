from __future__ import annotations

import dataclasses
import random
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.exchange.memory.hidden_token import LONGEST_ID_BYTES, HiddenToken, TokenSeal
from gateway.exchange.memory.zero_width import SHIELD, SYMBOLS, hide, reveal

CONVERSATION = "5f2c1b1e-8d0a-4c52-9f9e-0a7f6d3b2e1d"
MESSAGE = "0b4a9a52-76a1-4bd6-8a3d-6a5a1f0c9e77"
TOKEN = HiddenToken(CONVERSATION, MESSAGE, b"8 bytes!", b"sy")
SEAL = TokenSeal("app-key", "ann")
BYTES = SEAL.seal(TOKEN)
RUN = hide(BYTES)

short_texts = st.text(min_size=1, max_size=16)
ids = st.uuids().map(str) | short_texts
tokens = st.builds(
    HiddenToken,
    ids,
    st.none() | ids,
    st.binary(min_size=8, max_size=8),
    st.binary(min_size=2, max_size=2),
)


def read(text: str, seal: TokenSeal = SEAL) -> list[HiddenToken]:
    return [token for data in reveal(text) if (token := seal.open(data))]


@given(tokens, st.text(), st.text())
def test_a_token_is_read_as_it_was_written(token: HiddenToken, app_key: str, user: str) -> None:
    seal = TokenSeal(app_key, user)
    assert seal.open(seal.seal(token)) == token
    assert read(f"Hello {hide(seal.seal(token))}.", seal) == [token]


def test_two_uuids_take_53_bytes() -> None:
    assert len(BYTES) == 53


def test_another_node_reads_it() -> None:
    assert TokenSeal("app-key", "ann").open(BYTES) == TOKEN


def test_the_layout_does_not_change_by_accident() -> None:
    # Tokens live in clients' histories for years: whoever changes this needs a new version.
    ids = CONVERSATION.replace("-", "") + MESSAGE.replace("-", "")
    assert BYTES.hex() == "15" + ids + "3820627974657321" + "7379" + "3580777065097fc4c77a"


@pytest.mark.parametrize("value", ["x", "é" * 32, CONVERSATION.upper(), f"{{{CONVERSATION}}}", "a" * LONGEST_ID_BYTES])
def test_ids_that_are_no_uuid_are_carried_as_they_are(value: str) -> None:
    token = dataclasses.replace(TOKEN, conversation_id=value, message_id=value)
    assert read("Hello" + hide(SEAL.seal(token))) == [token]


@pytest.mark.parametrize(
    "change",
    [
        {"conversation_id": ""},
        {"conversation_id": "a" * (LONGEST_ID_BYTES + 1)},
        {"message_id": "é" * 33},
        {"fingerprint": b"short"},
        {"system_fingerprint": b""},
    ],
    ids=str,
)
def test_fields_that_do_not_fit_are_refused(change: dict[str, str]) -> None:
    token = dataclasses.replace(TOKEN, **change)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="token"):
        SEAL.seal(token)


@pytest.mark.parametrize(
    ("app_key", "user"),
    [("app-kez", "ann"), ("app-key", "bob"), ("app-key", ""), ("", "ann"), ("app-key", "ann "), ("app-keya", "nn")],
)
def test_another_app_or_user_has_no_use_for_it(app_key: str, user: str) -> None:
    assert TokenSeal(app_key, user).open(BYTES) is None


def test_no_user_can_pass_for_another_with_different_fields() -> None:
    # This id looks like a token of two UUIDs from its second byte on. If user and fields were simply joined for the
    # MAC, a user whose name goes on with the first two bytes could claim the rest.
    data = SEAL.seal(HiddenToken("\x15" + "i" * 32, None, b"8 bytes!", b"sy"))
    assert data[:2] == b"\x18!"
    assert TokenSeal("app-key", "ann\x18!").open(data[2:]) is None


def test_every_truncation_of_the_bytes_is_refused() -> None:
    for at in range(len(BYTES)):
        assert SEAL.open(BYTES[:at]) is None
        assert SEAL.open(BYTES[at + 1 :]) is None
        assert SEAL.open(BYTES[:at] + BYTES[at + 1 :]) is None


def test_every_changed_byte_is_refused() -> None:
    for at in range(len(BYTES)):
        for value in range(256):
            if value != BYTES[at]:
                assert SEAL.open(BYTES[:at] + bytes([value]) + BYTES[at + 1 :]) is None


def test_every_truncation_of_the_run_is_refused() -> None:
    for start in range(len(RUN)):
        for end in range(start, len(RUN) + 1):
            if end - start < len(RUN) - 1:  # without the shield alone it is still a token
                assert read(f"Hello{RUN[start:end]}, world") == []


def test_every_changed_character_of_the_run_is_refused() -> None:
    for at in range(1, len(RUN)):
        for other in SYMBOLS + SHIELD + "x\u200b\ufe0e\ufe0f":
            if other != RUN[at]:
                assert read(RUN[:at] + other + RUN[at + 1 :]) == []


def test_every_swap_and_every_insertion_is_refused() -> None:
    for at in range(1, len(RUN)):
        for other in range(at + 1, len(RUN)):
            if RUN[at] != RUN[other]:
                swapped = [*RUN]
                swapped[at], swapped[other] = swapped[other], swapped[at]
                assert read("".join(swapped)) == []
        for symbol in SYMBOLS:
            assert read(RUN[:at] + symbol + RUN[at:]) == []


def test_random_runs_are_no_token() -> None:
    source = random.Random(3)
    for _ in range(10_000):
        size = source.choice([len(RUN) - 1, len(RUN) - 1, source.randrange(200)])
        assert read(SHIELD + "".join(source.choices(SYMBOLS, k=size))) == []


@given(st.text() | st.text(SYMBOLS + SHIELD))
def test_random_texts_are_no_token(text: str) -> None:
    assert read(text) == []


REST = b"8 bytes!sy"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x15",
        b"\x10" + REST,  # no conversation
        b"\x14" + b"i" * 15,  # a short UUID
        b"\x18",  # no length
        b"\x18\x40" + REST,  # a length past the end
        b"\x18\x00" + REST,  # an empty id
        b"\x18\x01\xff" + REST,  # not UTF-8
        b"\x1c\x01i" + REST,  # an unknown kind
        b"\x18\x01i" + REST[:-1],
        b"\x18\x01i" + REST + b"!",
    ],
)
def test_signed_bytes_that_are_no_token_are_refused(body: bytes) -> None:
    # Only who has the key can write them: a later version might.
    assert SEAL.open(body + SEAL._mac(body)) is None


@given(st.integers(0x10, 0x1F), st.binary(max_size=80))
def test_any_signed_bytes_are_read_without_an_error(header: int, rest: bytes) -> None:
    body = bytes([header]) + rest
    token = SEAL.open(body + SEAL._mac(body))
    assert token is None or token.conversation_id


@pytest.mark.parametrize("version", [0, 2, 15])
def test_another_version_is_refused(version: int) -> None:
    body = bytes([version << 4 | BYTES[0] & 15]) + BYTES[1:-10]
    assert SEAL.open(body + SEAL._mac(body)) is None


@given(st.text(), st.text(), short_texts)
def test_tokens_do_not_open_each_others_seals(app_key: str, user: str, more: str) -> None:
    data = TokenSeal(app_key, user).seal(TOKEN)
    assert TokenSeal(app_key + more, user).open(data) is None
    assert TokenSeal(app_key, user + more).open(data) is None


def test_the_keys_of_tokens_and_transcripts_differ_by_app_and_purpose() -> None:
    keys = [TokenSeal("app-key", "ann").transcript_key, TokenSeal("app-kez", "ann").transcript_key, SEAL._key]
    assert len({key.digest(b"") for key in keys}) == 3
    assert TokenSeal("app-key", "bob").transcript_key.digest(b"") == SEAL.transcript_key.digest(b"")


def test_the_key_is_not_shown() -> None:
    assert "app-key" not in repr(SEAL)
    assert uuid.UUID(CONVERSATION).bytes in BYTES  # the ids are not secret, and not hidden from who decodes a run
