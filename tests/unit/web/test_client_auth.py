"""Who may use the gateway."""

from __future__ import annotations

import contextlib
import hmac

import pytest

from gateway.errors import InvalidClientKey
from gateway.load_settings import load_settings
from gateway.settings import Settings
from gateway.web import client_auth
from gateway.web.client_auth import client_key

OPEN = load_settings({})
CLOSED = load_settings({"VALID_API_KEYS": "sk-one, sk-two,third"})


@pytest.mark.parametrize(
    ("authorization", "key"),
    [
        ("Bearer sk-one", "sk-one"),
        ("Bearer sk-two", "sk-two"),
        ("bearer third", "third"),
        ("BEARER third", "third"),
        ("Bearer   sk-one  ", "sk-one"),
    ],
)
def test_a_valid_key_opens(authorization: str, key: str) -> None:
    assert client_key(authorization, CLOSED).key == key


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "sk-one", "Basic sk-one", "Bearersk-one"])
def test_without_a_key_the_client_is_told_how_to_send_one(authorization: str | None) -> None:
    with pytest.raises(InvalidClientKey, match="Authorization: Bearer YOUR_KEY") as caught:
        client_key(authorization, CLOSED)
    assert (caught.value.status, caught.value.code) == (401, "missing_api_key")


@pytest.mark.parametrize(
    "given",
    [
        "sk-on",
        "sk-one1",
        "SK-ONE",
        "sk-one,sk-two",
        "sk-one, sk-two",
        "sk-one sk-two",
        "Bearer sk-one",
        "schl\u00fcssel",  # Tornado reads headers as Latin-1
        "\u00ff",
        "x" * 30_000,
    ],
)
def test_a_wrong_key_does_not_open_and_is_not_repeated(given: str) -> None:
    with pytest.raises(InvalidClientKey) as caught:
        client_key(f"Bearer {given}", CLOSED)
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
    assert caught.value.message == "Incorrect API key provided."


@pytest.mark.parametrize(
    ("authorization", "key"),
    [
        (None, ""),
        ("", ""),
        ("Bearer sk-any", "sk-any"),
        ("Basic dXNlcg==", ""),
        ("Bearer schl\u00fcssel", "schl\u00fcssel"),
    ],
)
def test_without_configured_keys_everybody_may(authorization: str | None, key: str) -> None:
    assert client_key(authorization, OPEN).key == key


@pytest.mark.parametrize("given", ["sk-one", "third", "wrong"])
def test_every_key_is_compared_in_constant_time(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare_digest(one, other)

    compare_digest = hmac.compare_digest
    monkeypatch.setattr(client_auth.hmac, "compare_digest", compare)
    settings: Settings = CLOSED
    with contextlib.suppress(InvalidClientKey):
        client_key(f"Bearer {given}", settings)
    assert compared == [(given.encode(), key) for key in (b"sk-one", b"sk-two", b"third")]
