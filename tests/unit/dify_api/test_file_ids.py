"""The ids of /v1/files: what they hold, and that nobody can make one up."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from gateway.dify_api.file_ids import PREFIX, PURPOSES, FileSeal, StoredUpload, app_tag

UPLOAD = StoredUpload("0a1b2c3d-0000-4000-8000-000000000001", "图片.png", "image/png", 12, 1_800_000_000, "vision")
SEAL = FileSeal("app-a")


def test_an_id_gives_back_all_that_was_told() -> None:
    file_id = SEAL.seal(UPLOAD, "ann")
    assert file_id.startswith(PREFIX)
    assert set(file_id) <= set(base64.urlsafe_b64encode(bytes(range(256))).decode() + "abcdefghijklmnopqrstuvwxyz-_")
    assert SEAL.open(file_id, "ann") == SEAL.open(file_id) == UPLOAD
    assert app_tag(file_id) == SEAL.tag != FileSeal("app-b").tag


def test_an_id_is_for_one_app_and_one_user() -> None:
    file_id = SEAL.seal(UPLOAD, "ann")
    assert SEAL.open(file_id, "bob") is None
    assert FileSeal("app-b").open(file_id) is None


def test_each_byte_of_an_id_counts() -> None:
    data = bytearray(base64.urlsafe_b64decode(SEAL.seal(UPLOAD, "ann").removeprefix(PREFIX) + "=="))
    for place in range(len(data)):
        data[place] ^= 1
        forged = PREFIX + base64.urlsafe_b64encode(bytes(data)).decode().rstrip("=")
        assert SEAL.open(forged, "ann") is None, place
        data[place] ^= 1


@pytest.mark.parametrize("odd", ["", "file-", "file-1", "file-ä", "file-" + "A" * 200, "x" * 5000])
def test_what_is_no_id_is_none(odd: str) -> None:
    assert SEAL.open(odd) is None
    assert app_tag(odd) in (b"", b"\0\0\0\0")


@given(some.text(max_size=300), some.sampled_from(PURPOSES), some.text(max_size=50))
def test_any_name_and_any_user_come_through(name: str, purpose: str, user: str) -> None:
    opened = SEAL.open(SEAL.seal(replace(UPLOAD, name=name, purpose=purpose), user), user)
    assert opened is not None
    assert (opened.purpose, opened.upload_id) == (purpose, UPLOAD.upload_id)
    assert name.encode("utf-8", "replace").startswith(opened.name.encode())


def test_an_upload_that_is_none_of_difys_has_no_id() -> None:
    with pytest.raises(ValueError, match="badly formed"):
        SEAL.seal(replace(UPLOAD, upload_id="up-1"), "ann")
