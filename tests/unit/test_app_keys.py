"""DIFY_API_KEYS as operators write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import app_keys
from gateway.app_keys import BadAppKey, parse_app_keys, parse_base_url
from gateway.dify_api.app import AppKey, AppMode
from gateway.exchange.memory.modes import MEMORY_MODES

BASE = "https://api.dify.ai/v1"
OTHER = "http://dify.lan:8080/v1"

LISTS: dict[str, tuple[str, list[AppKey]]] = {
    "nothing": ("", []),
    "only commas": (" , ,", []),
    "one": ("app-a", [AppKey("app-a", BASE)]),
    "in order": ("app-b, app-a ,app-c", [AppKey("app-b", BASE), AppKey("app-a", BASE), AppKey("app-c", BASE)]),
    "one a line": (
        "app-a\r\napp-b,\n\n app-c\n",
        [AppKey("app-a", BASE), AppKey("app-b", BASE), AppKey("app-c", BASE)],
    ),
    "another Dify": (f"app-a,app-b@{OTHER}", [AppKey("app-a", BASE), AppKey("app-b", OTHER)]),
    "a slash too many": (f"app-a@{OTHER}//", [AppKey("app-a", OTHER)]),
    "blanks around": (f" app-a @ {OTHER} ", [AppKey("app-a", OTHER)]),
    "an option": ("app-a?mode=workflow", [AppKey("app-a", BASE, mode=AppMode.WORKFLOW)]),
    "an empty option list": ("app-a?", [AppKey("app-a", BASE)]),
    "all options and another Dify": (
        f"app-a@{OTHER}/?mode=completion&query=text&output=result&system=role&memory=0",
        [AppKey("app-a", OTHER, AppMode.COMPLETION, "text", "result", "role", 0)],
    ),
    "percent-encoded": (
        "app-a?query=%D1%82%D0%B5%D0%BA%D1%81%D1%82&output=a%2Cb%26c%3Dd%20e",
        [AppKey("app-a", BASE, query_variable="текст", output_variable="a,b&c=d e")],
    ),
    "an address among the options": ("app-a?query=x@y", [AppKey("app-a", BASE, query_variable="x@y")]),
    "twice": (f"app-a,app-a@{BASE},app-a@{BASE}/", [AppKey("app-a", BASE)]),
    "twice with the same options": ("app-a?memory=0,app-a?memory=0", [AppKey("app-a", BASE, memory_mode=0)]),
    "one key on two Difys": (f"app-a,app-a@{OTHER}", [AppKey("app-a", BASE), AppKey("app-a", OTHER)]),
}


@pytest.mark.parametrize(("written", "keys"), LISTS.values(), ids=LISTS)
def test_a_list_of_keys_is_read(written: str, keys: list[AppKey]) -> None:
    assert parse_app_keys(written, BASE) == tuple(keys)


@pytest.mark.parametrize("mode", AppMode)
def test_every_mode_can_be_named(mode: AppMode) -> None:
    assert parse_app_keys(f"app-a?mode={mode}", BASE)[0].mode is mode


@pytest.mark.parametrize("mode", MEMORY_MODES)
def test_every_memory_mode_can_be_chosen_for_an_app(mode: int) -> None:
    assert parse_app_keys(f"app-a?memory={mode}", BASE)[0].memory_mode == mode


SECRET = "app-SECRETsecret0123456789"
PROBLEMS: dict[str, tuple[str, list[str]]] = {
    "unknown option": (
        "{}?modus=chat",
        [f"key 1: has an unknown option; there are {', '.join(app_keys._OPTIONS)}"],
    ),
    "unknown mode": (
        "{}?mode=chatbot",
        ["key 1: mode is not one of chat, agent-chat, agent, advanced-chat, completion, workflow"],
    ),
    "no mode": ("{}?mode", ["key 1: mode is not one of chat, agent-chat, agent, advanced-chat, completion, workflow"]),
    "unknown memory": ("{}?memory=one", ["key 1: memory is not one of 0, 1, 2"]),
    "memory with a sign": ("{}?memory=%2B1", ["key 1: memory is not one of 0, 1, 2"]),
    "no variable": ("{}?query=%20", ["key 1: query, output and system name a variable"]),
    "an option twice": ("{}?memory=0&memory=1", ["key 1: has memory twice"]),
    "no key": ("@https://dify/v1", ["key 1: has a character that no key has"]),
    "only options": ("?mode=chat", ["key 1: has a character that no key has"]),
    "keys between blanks": ("{0} {0}", ["key 1: has a character that no key has"]),
    "letters beyond ASCII": ("{}é", ["key 1: has a character that no key has"]),
    "no scheme": ("{}@dify.lan/v1", ["key 1: not an http(s) address"]),
    "two addresses": (
        "{0}@https://dify/v1@https://dify/v1",
        ["key 1: an address without user, query or fragment is wanted"],
    ),
    "another key in the address": (
        "{0}@https://dify/v1;{0}@https://dify/v1",
        ["key 1: has a character that does not belong in an address"],
    ),
    "another key in the options": (
        "{0}?{0}",
        [f"key 1: has an unknown option; there are {', '.join(app_keys._OPTIONS)}"],
    ),
    "another key behind the options": (
        "{0}?mode=chat {0}",
        ["key 1: mode is not one of chat, agent-chat, agent, advanced-chat, completion, workflow"],
    ),
    "again, with other options": (
        "app-b,{0}?mode=chat,{0}",
        ["key 3: is key 2 again, with other options"],
    ),
    "all problems at once": (
        "app-a b,app-c,{}?memory=9",
        ["key 1: has a character that no key has", "key 3: memory is not one of 0, 1, 2"],
    ),
}


@pytest.mark.parametrize(("written", "problems"), PROBLEMS.values(), ids=PROBLEMS)
def test_what_is_wrong_is_told_by_place_and_without_the_key(written: str, problems: list[str]) -> None:
    with pytest.raises(BadAppKey) as caught:
        parse_app_keys(written.format(SECRET), BASE)
    assert caught.value.problems == [f"DIFY_API_KEYS, {problem}" for problem in problems]
    assert SECRET not in str(caught.value)


def test_a_key_needs_a_dify() -> None:
    assert parse_app_keys(f"app-a@{OTHER}", "") == (AppKey("app-a", OTHER),)
    with pytest.raises(BadAppKey, match=r"key 2: has no Dify: set DIFY_API_BASE, or write key@"):
        parse_app_keys(f"app-a@{OTHER},app-b", "")


@given(st.text(alphabet="app-KEY@?&=%,;:/. \n12é", max_size=60))
def test_any_text_is_read_or_refused_without_a_key(written: str) -> None:
    written = written.replace("KEY", SECRET)
    try:
        shown = repr(parse_app_keys(written, BASE))
    except BadAppKey as error:
        shown = str(error)
    assert shown
    assert SECRET not in shown


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("https://api.dify.ai/v1", "https://api.dify.ai/v1"),
        (" http://dify/v1/// ", "http://dify/v1"),
        ("http://127.0.0.1:5001/v1", "http://127.0.0.1:5001/v1"),
        ("http://[::1]:5001/v1", "http://[::1]:5001/v1"),
        ("https://my_dify-1.lan/a%20b/~x/v1", "https://my_dify-1.lan/a%20b/~x/v1"),
    ],
)
def test_an_address_loses_its_trailing_slash(written: str, url: str) -> None:
    assert parse_base_url(written) == url


@pytest.mark.parametrize(
    "written",
    [
        "",
        "api.dify.ai/v1",
        "ftp://dify/v1",
        "https://",
        "https:///v1",
        "https://:80/v1",
        "http://dify:port/v1",
        "http://dify:65536/v1",
        "http://[::1/v1",
        "https://user@dify/v1",
        "https://user:password@dify/v1",
        "https://@dify/v1",
        "https://dify/v1?key=x",
        "https://dify/v1#x",
        "https://dify/v 1",
        "https://dify/\tv1",
        "https://dify\n.lan/v1",
        "https://dífy/v1",
        "https://dify\u2100/v1",
        "https://dify/v1,https://dify/v1",
        'https://dify/v1"',
    ],
)
def test_what_is_no_address_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"address|port|URL"):
        parse_base_url(written)
