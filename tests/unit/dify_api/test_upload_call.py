"""An upload as Dify's web framework reads it."""

from __future__ import annotations

from email.parser import BytesParser
from email.policy import HTTP

import pytest

from gateway.dify_api.upload_call import upload, upload_id


def test_the_body_has_the_user_and_the_file() -> None:
    content = b"\r\n--opendify-\x00\xff\r\n"
    call = upload("图 片.png", "image/png", [content[:5], content[5:]], "ab" * 32, "Ann Ä")
    assert (call.method, call.path) == ("POST", "/files/upload")
    head = f"Content-Type: {call.content_type}\r\n\r\n".encode()
    user, file = BytesParser(policy=HTTP).parsebytes(head + (call.body or b"")).iter_parts()
    assert user["Content-Disposition"].params["name"] == "user"
    assert user.get_payload(decode=True).decode().strip() == "Ann Ä"
    assert file["Content-Disposition"].params["name"] == "file"
    assert file.get_content_type() == "image/png"
    assert file.get_payload(decode=True) == content
    assert 'filename="图 片.png"'.encode() in (call.body or b"")


def test_a_name_cannot_end_its_header() -> None:
    body = upload('a"\r\nX: y.png', "image/png", [], "ab" * 32, "ann").body or b""
    assert b'filename="a%22%0D%0AX: y.png"\r\n' in body


def test_a_user_who_knows_the_file_cannot_end_the_part_with_the_name() -> None:
    digest = "ab" * 32
    boundary = upload("a.png", "image/png", [], digest, "ann").content_type.partition("boundary=")[2]
    call = upload("a.png", "image/png", [], digest, f"ann\r\n--{boundary}--\r\n")
    head = f"Content-Type: {call.content_type}\r\n\r\n".encode()
    assert len(list(BytesParser(policy=HTTP).parsebytes(head + (call.body or b"")).iter_parts())) == 2


@pytest.mark.parametrize(
    ("answer", "found"),
    [({"id": "up-1", "name": "a.png"}, "up-1"), ({"id": 5}, None), ({"id": ""}, None), ([], None), (None, None)],
)
def test_an_answer_names_the_file(answer: object, found: str | None) -> None:
    assert upload_id(answer) == found
