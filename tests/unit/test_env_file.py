"""A settings file means what it means to systemd 252.

The table was checked against systemd 252's own parser; where its library is installed, it judges generated files too.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.env_file import parse_env_file

# file text → what it assigns
FILES: dict[str, tuple[str, dict[str, str]]] = {
    "plain": ("A=1\nB=two words\n", {"A": "1", "B": "two words"}),
    "no line break at the end": ("A=1", {"A": "1"}),
    "nothing": ("", {}),
    "empty values": ("A=\nB=''\nC=\"\"\nD=", {"A": "", "B": "", "C": "", "D": ""}),
    "blanks around": (" \t A \t=\t 1 \t \n", {"A": "1"}),
    "empty lines": ("\n\n  \nA=1\n\n", {"A": "1"}),
    "a comment behind a value belongs to it": ("A=x # c\nB=x;y", {"A": "x # c", "B": "x;y"}),
    "comments": ("# A=1\n; B=2\n  # C=3\nD=4", {"D": "4"}),
    "a comment goes on behind a backslash": ("# c\\\nA=1\n; c\\\nB=2\nC=3", {"C": "3"}),
    "a dollar is a dollar": ("A=$HOME\nB=\"${HOME}\"\nC='$HOME'", {"A": "$HOME", "B": "${HOME}", "C": "$HOME"}),
    "an equals sign in a value": ("A=b=c==", {"A": "b=c=="}),
    "no assignment": ("A\nB=1\nC", {"B": "1"}),
    "the last one counts": ("A=1\nA=2\nA=", {"A": ""}),
    "CRLF": ("A=1\r\nB='2'\r\n# c\r\nC=3", {"A": "1", "B": "2", "C": "3"}),
    "CR": ("A=1\rB=2", {"A": "1", "B": "2"}),
    "single quotes are literal": (r"A='a\n\"$ #'", {"A": r"a\n\"$ #"}),
    "double quotes unescape four characters": (r'A="\" \\ \` \$ \n \x"', {"A": r'" \ ` $ \n \x'}),
    "double quotes swallow an escaped line break": ('A="a\\\nb"', {"A": "ab"}),
    "but not an escaped CRLF": ('A="a\\\r\nb"', {"A": "a\\\r\nb"}),
    "quotes hold line breaks": ("A='a\nb'\nB=\"c\nd\"", {"A": "a\nb", "B": "c\nd"}),
    "quotes keep blanks": ("A=' a '\nB=\" b \"", {"A": " a ", "B": " b "}),
    "text behind quotes": ('A="x"y', {"A": "xy"}),
    "quotes behind text": ('A=x"y"\nB=it\'s', {"A": 'x"y"', "B": "it's"}),
    "quotes behind quotes": ("A='a' \"b\"", {"A": "ab"}),
    "a hash behind quotes": ("A='a' # c", {"A": "a# c"}),
    "open quotes": ("A='a\nB=1", {"A": "a\nB=1"}),
    "open double quotes and a backslash": ('A="a\\', {"A": "a"}),
    "a backslash escapes": (r"A=a\b\\c\ ", {"A": r"ab\c "}),
    "a backslash joins lines": ("A=a\\\n  b\nB=\\\nc", {"A": "a  b", "B": "c"}),
    "a backslash at the end": ("A=a \\", {"A": "a "}),
    "blanks before a backslash stay": ("A=a  \\\n  \nB=1", {"A": "a  ", "B": "1"}),
    "blanks behind an escaped blank go": ("A=a\\   ", {"A": "a "}),
    "names": ("_A1=1\na=2", {"_A1": "1", "a": "2"}),
    "no names": ("export C=1\n1A=1\nA-B=1\nA.B=1\nÉ=1\n=x\nD=1", {"D": "1"}),
    "a byte order mark is part of the first name": ("\ufeffA=1\nB=2", {"B": "2"}),
    "any text is a value": ("A=é \u2028 \x01 \u00a0", {"A": "é \u2028 \x01 \u00a0"}),
}


@pytest.mark.parametrize(("text", "values"), FILES.values(), ids=FILES)
def test_a_file_means_what_it_means_to_systemd(text: str, values: dict[str, str]) -> None:
    assert parse_env_file(text).values == values


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("A=1\n", []),
        ("export C=1\n", [1]),
        ("; A B=1\n# A B=1", []),
        ("A=1\n# c\n\n  B C=1\nD=1\n2=2", [4, 6]),
        ("A='x\ny'\nexport C='1\n2'\n-=1", [3, 5]),
        ("A=1\r\nexport C=1\r\n", [2]),
        ("no assignment\n", [1]),  # systemd says nothing
        ("KEYS=app-a,\n  app-b,\n# c\napp-c", [2, 4]),
    ],
)
def test_what_is_no_assignment_is_reported_by_its_line(text: str, lines: list[int]) -> None:
    assert parse_env_file(text).ignored == lines


# --- systemd's own parser ---------------------------------------------------------------------------------------------

SystemdParser = Callable[[str], dict[str, str]]

# From 254 on a comment no longer goes on behind a backslash.
_LIBRARIES = sorted(Path("/usr/lib").glob("*/systemd/libsystemd-shared-252*.so"))


@pytest.fixture(scope="session")
def systemd(tmp_path_factory: pytest.TempPathFactory) -> SystemdParser:
    """What systemd does with an EnvironmentFile before it starts a service."""
    if not _LIBRARIES:
        pytest.skip("systemd 252 is not installed")
    library = ctypes.CDLL(str(_LIBRARIES[0]))
    library.strv_env_clean_with_callback.restype = ctypes.POINTER(ctypes.c_char_p)
    path = tmp_path_factory.mktemp("env") / "env"

    def parse(text: str) -> dict[str, str]:
        path.write_bytes(text.encode())
        found = ctypes.POINTER(ctypes.c_char_p)()
        assert library.load_env_file(None, str(path).encode(), ctypes.byref(found)) >= 0
        if not found:
            return {}
        found = library.strv_env_clean_with_callback(found, None, None)
        values, index = {}, 0
        while (assignment := found[index]) is not None:
            name, _, value = assignment.decode().partition("=")
            values[name] = value
            index += 1
        return values

    return parse


@pytest.mark.parametrize(("text", "values"), FILES.values(), ids=FILES)
def test_the_table_is_systemds(systemd: SystemdParser, text: str, values: dict[str, str]) -> None:
    assert systemd(text) == values


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet="AB=1x \t\\\\'\"\n\n\r#;$`-é\x01\u00a0\x0b", max_size=40))
def test_systemd_agrees(systemd: SystemdParser, text: str) -> None:
    assert parse_env_file(text).values == systemd(text)
