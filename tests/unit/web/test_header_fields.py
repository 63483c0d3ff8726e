"""Plain heads are read quickly, and never otherwise than Tornado reads them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, HTTPInputError

from gateway.web.header_fields import HeaderFields, read_head

PLAIN = (
    "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nauthorization:Bearer sk-one\r\n"
    "X-Stainless-Lang: \t python 3.11 \r\nX-Empty:\r\nContent-Length: 5\r\n\r\n"
)

pieces = st.sampled_from(
    [*"\r\n :\t,é\x00\x7f\x80\xffaZ9-_()<", "\r\n", "\r\n\r\n", "Host", "x-a: b\r\n", "GET / HTTP/1.1\r\n"]
)
heads = st.one_of(
    st.lists(pieces).map("".join),
    st.builds(
        lambda lines, end: "GET / HTTP/1.1\r\n" + "".join(f"{name}:{value}\r\n" for name, value in lines) + end,
        st.lists(st.tuples(st.text("aBc-!", max_size=3), st.text(" \tb:é\x80\x0b", max_size=4))),
        st.sampled_from(["\r\n", "\n", "", "\r\n\r\n"]),
    ),
)


def as_tornado(head: str) -> tuple[str, list[tuple[str, str]]] | None:
    try:
        line, headers = HTTP1Connection._parse_headers(None, head.encode("latin1"))  # type: ignore[arg-type]
    except HTTPInputError:
        return None
    return line, list(headers.get_all())


@given(heads)
@example(PLAIN)
@example("GET / HTTP/1.1\r\nA: 1\r\na: 2\r\n\r\n")
@example("GET / HTTP/1.1\r\nbad name: 1\r\n\r\n")
@example("GET / HTTP/1.1\r\nA: 1\r\n folded\r\n\r\n")
@example("GET / HTTP/1.1\r\r\nA: 1\r\n\r\n")
def test_what_is_read_is_what_tornado_reads(head: str) -> None:
    if (read := read_head(head)) is not None:
        assert (read[0], list(read[1].get_all())) == as_tornado(head)


def test_what_clients_send_is_plain() -> None:
    read = read_head(PLAIN)
    assert read is not None
    assert read[1].get("AUTHORIZATION") == "Bearer sk-one"
    assert read[1]["x-stainless-lang"] == "python 3.11"


@pytest.mark.parametrize(
    "head",
    [
        PLAIN.replace("\r\n", "\n"),
        PLAIN.replace("X-Empty:", "X-Empty :"),
        PLAIN.replace("X-Empty:", " X-Empty:"),
        PLAIN.replace("X-Empty:", "X-Empty: \x00"),
        PLAIN.replace("X-Empty:", "HOST: twice"),
        "\r\n" + PLAIN,
    ],
)
def test_all_else_is_left_to_tornado(head: str) -> None:
    assert read_head(head) is None


@given(st.lists(st.tuples(st.sampled_from(["A", "b-c", "B-C", "d"]), st.sampled_from(["", "x", "y"]))), st.booleans())
def test_a_look_up_finds_what_tornados_finds(fields: list[tuple[str, str]], added: bool) -> None:
    ours, theirs = HeaderFields(), HTTPHeaders()
    for name, value in fields:
        for headers in (ours, theirs):
            headers.add(name, value) if added else headers.__setitem__(name, value)
    for name in ("a", "A", "B-c", "D", "e"):
        assert ours.get(name) == theirs.get(name)
        assert ours.get(name, "none") == theirs.get(name, "none")
    assert list(ours.get_all()) == list(theirs.get_all())
    made = HeaderFields({name: value for name, value in theirs.items() if len(theirs.get_list(name)) == 1})
    assert all(made.get_list(name) == theirs.get_list(name) for name in made)


changes = st.tuples(
    st.sampled_from(["add", "set", "delete", "get"]), st.sampled_from(["A", "b-c", "B-C"]), st.text("xy")
)


@given(st.dictionaries(st.sampled_from(["A", "B-C", "D"]), st.text("xy")), st.lists(changes))
@example({"A": "x"}, [("delete", "A", "")])
@example({"A": "x"}, [("add", "a", "y"), ("set", "a", "x")])
def test_what_becomes_of_fields_is_what_becomes_of_tornados(
    fields: dict[str, str], made: list[tuple[str, str, str]]
) -> None:
    ours, theirs = HeaderFields(dict(fields)), HTTPHeaders(fields)
    for change, name, value in made:
        raised: list[bool] = []
        for headers in (ours, theirs):
            try:
                if change == "add":
                    headers.add(name, value)
                elif change == "set":
                    headers[name] = value
                elif change == "delete":
                    del headers[name]
                else:
                    headers[name]
                raised.append(False)
            except KeyError:
                raised.append(True)
        assert raised[0] is raised[1]
        assert list(ours.get_all()) == list(theirs.get_all())
        assert (list(ours), len(ours), str(ours)) == (list(theirs), len(theirs), str(theirs))
        for known in ("a", "B-c", "d", "e"):
            assert (known in ours) is (known in theirs)
            assert ours.get(known) == theirs.get(known)
            assert ours.get_list(known) == theirs.get_list(known)
    assert list(ours.copy().get_all()) == list(theirs.get_all())
