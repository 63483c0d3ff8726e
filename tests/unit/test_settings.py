"""Every knob, alone and together; a bad configuration lists everything wrong and shows no key."""

from __future__ import annotations

import dataclasses
import ssl
from pathlib import Path
from typing import Any

import pytest

from gateway.client_keys import ClientKey
from gateway.dify_api.app import AppKey
from gateway.env_file import parse_env_file
from gateway.exchange.memory.modes import MEMORY_MODES
from gateway.exchange.smoothing import Smoothing
from gateway.settings import BadSettings, Settings, env_example, knobs, load_settings, settings_table

NAMES = [name for name, _ in knobs()]
APP_KEY = "app-SECRETsecret0123456789"
CLIENT_KEY = "sk-SECRETsecret0123456789"


def problems(**environ: str) -> list[str]:
    with pytest.raises(BadSettings) as caught:
        load_settings(environ)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


# --- one knob ---------------------------------------------------------------------------------------------------------

DEFAULTS: dict[str, Any] = {
    "dify_api_keys": "",
    "dify_api_base": "",
    "app_refresh_seconds": 60.0,
    "ca_file": "",
    "upstream_http2": False,
    "upstream_proxy": "",
    "server_host": "127.0.0.1",
    "server_port": 5000,
    "valid_api_keys": (),
    "allow_anonymous": False,
    "cors_allow_origin": "*",
    "max_body_bytes": 32 * 1024 * 1024,
    "shutdown_seconds": 30.0,
    "max_connections": 0,
    "max_streams": 5000,
    "max_streams_per_dify": 1000,
    "queue_length": 100,
    "queue_seconds": 5.0,
    "starts_per_second": 1000.0,
    "smooth_streaming": Smoothing.AUTO,
    "smooth_max_delay": 0.25,
    "conversation_memory_mode": 1,
    "check_branches": True,
    "read_opendify_tokens": True,
    "connect_timeout": 5.0,
    "first_byte_timeout": 60.0,
    "stream_idle_timeout": 60.0,
    "stream_stall_timeout": 600.0,
    "answer_timeout": 3600.0,
    "client_write_timeout": 60.0,
    "keep_partial_answers": False,
    "commit_after": 10.0,
    "keep_alive_seconds": 10.0,
    "idempotency_seconds": 600.0,
    "idempotency_grace_seconds": 5.0,
    "idempotency_bytes": 64 * 1024 * 1024,
    "redis_url": "",
    "log_level": "info",
    "log_format": "text",
    "app_keys": (),
}


def test_nothing_has_to_be_set() -> None:
    assert dataclasses.asdict(load_settings({})) == DEFAULTS


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_value_is_not_set(name: str) -> None:
    assert load_settings({name: ""}) == load_settings({name: " \t"}) == load_settings({})


@pytest.mark.parametrize(("name", "knob"), list(knobs()))
def test_a_knob_says_what_it_means_and_its_default_is_good(name: str, knob: Any) -> None:
    assert name == name.upper()
    assert len(knob.meaning.split()) >= 2
    assert load_settings({name: knob.default}) == load_settings({})


GOOD: list[tuple[str, str, Any]] = [
    ("DIFY_API_BASE", " https://dify.lan/v1/ ", "https://dify.lan/v1"),
    ("APP_REFRESH_SECONDS", "1.5", 1.5),
    ("UPSTREAM_PROXY", "http://proxy:3128/", "http://proxy:3128"),
    ("UPSTREAM_PROXY", "http://[::1]:3128", "http://[::1]:3128"),
    ("SERVER_HOST", " localhost ", "localhost"),
    ("SERVER_PORT", "0", 0),
    ("SERVER_PORT", "65535", 65535),
    ("VALID_API_KEYS", " sk-a ,, sk-b,", (ClientKey("sk-a"), ClientKey("sk-b"))),
    ("ALLOW_ANONYMOUS", "True", True),
    ("ALLOW_ANONYMOUS", "ON", True),
    ("ALLOW_ANONYMOUS", "1", True),
    ("ALLOW_ANONYMOUS", "yes", True),
    ("ALLOW_ANONYMOUS", "no", False),
    ("ALLOW_ANONYMOUS", "off", False),
    ("ALLOW_ANONYMOUS", "0", False),
    ("ALLOW_ANONYMOUS", "False", False),
    ("CORS_ALLOW_ORIGIN", "none", ""),
    ("CORS_ALLOW_ORIGIN", "https://chat.example.org:8443", "https://chat.example.org:8443"),
    ("CORS_ALLOW_ORIGIN", "chrome-extension://abcdef", "chrome-extension://abcdef"),
    ("SHUTDOWN_SECONDS", "0", 0.0),
    ("UPSTREAM_HTTP2", "true", True),
    ("MAX_CONNECTIONS", "0", 0),
    ("MAX_STREAMS", "1", 1),
    ("MAX_STREAMS_PER_DIFY", "10", 10),
    ("QUEUE_LENGTH", "0", 0),
    ("QUEUE_SECONDS", "0", 0.0),
    ("STARTS_PER_SECOND", "0.5", 0.5),
    ("CONVERSATION_MEMORY_MODE", " 0 ", 0),
    ("CONVERSATION_MEMORY_MODE", "2", 2),
    ("CHECK_BRANCHES", "no", False),
    ("READ_OPENDIFY_TOKENS", "off", False),
    ("KEEP_PARTIAL_ANSWERS", "yes", True),
    ("IDEMPOTENCY_SECONDS", "0", 0.0),
    ("REDIS_URL", " redis://:p%40ss@cache:6379/1 ", "redis://:p%40ss@cache:6379/1"),
    ("REDIS_URL", "rediss://cache?ssl_ca_certs=/etc/ca.pem", "rediss://cache?ssl_ca_certs=/etc/ca.pem"),
    ("REDIS_URL", "redis://[::1]:6379/0", "redis://[::1]:6379/0"),
    ("REDIS_URL", "unix:///run/redis.sock", "unix:///run/redis.sock"),
    ("LOG_LEVEL", "WARNING", "warning"),
    ("LOG_FORMAT", "JSON", "json"),
    ("KEEP_ALIVE_SECONDS", "5e-2", 0.05),
]


@pytest.mark.parametrize(("name", "written", "value"), GOOD)
def test_a_good_value_is_read(name: str, written: str, value: Any) -> None:
    assert getattr(load_settings({name: written}), name.lower()) == value


MODES = ", ".join(map(str, MEMORY_MODES))
BAD: list[tuple[str, str, str]] = [
    ("DIFY_API_BASE", "dify.lan", "not an http(s) address"),
    ("DIFY_API_BASE", "https://dify.lan/v1?a=b", "an address without user, query or fragment is wanted"),
    ("APP_REFRESH_SECONDS", "0", "not between 1 and 86400 seconds"),
    ("APP_REFRESH_SECONDS", "1m", "not a number of seconds"),
    ("APP_REFRESH_SECONDS", "nan", "not between 1 and 86400 seconds"),
    ("UPSTREAM_PROXY", "proxy:3128", "not an http(s) address"),
    ("UPSTREAM_PROXY", "https://proxy:3128", "not http://host:port"),
    ("UPSTREAM_PROXY", "http://proxy:3128/path", "not http://host:port"),
    ("UPSTREAM_PROXY", "socks5://proxy:3128", "not an http(s) address"),
    ("UPSTREAM_PROXY", "http://proxy:x", "its port is not a number up to 65535"),
    ("UPSTREAM_PROXY", "http://user@proxy:3128", "an address without user, query or fragment is wanted"),
    ("SERVER_PORT", "http", "not a whole number"),
    ("SERVER_PORT", "80.5", "not a whole number"),
    ("SERVER_PORT", "65536", "not between 0 and 65535"),
    ("SERVER_PORT", "-1", "not between 0 and 65535"),
    ("SERVER_PORT", "5000 # the port", "not a whole number"),
    ("ALLOW_ANONYMOUS", "maybe", "not true or false"),
    (
        "CORS_ALLOW_ORIGIN",
        "https://a.example/",
        "not *, none or one origin like https://chat.example.org, without a path",
    ),
    (
        "CORS_ALLOW_ORIGIN",
        "https://a https://b",
        "not *, none or one origin like https://chat.example.org, without a path",
    ),
    ("CORS_ALLOW_ORIGIN", "a.example", "not *, none or one origin like https://chat.example.org, without a path"),
    ("MAX_BODY_BYTES", "32MB", "not a whole number"),
    ("MAX_BODY_BYTES", "1023", "not between 1024 and 1073741824"),
    ("SHUTDOWN_SECONDS", "-1", "not between 0 and 3600 seconds"),
    ("SHUTDOWN_SECONDS", "inf", "not between 0 and 3600 seconds"),
    ("UPSTREAM_HTTP2", "2", "not true or false"),
    ("MAX_CONNECTIONS", "-1", "not between 0 and 1000000"),
    ("MAX_STREAMS", "0", "not between 1 and 1000000"),
    ("MAX_STREAMS_PER_DIFY", "0", "not between 1 and 1000000"),
    ("MAX_STREAMS_PER_DIFY", "many", "not a whole number"),
    ("QUEUE_LENGTH", "-1", "not between 0 and 1000000"),
    ("QUEUE_SECONDS", "301", "not between 0 and 300 seconds"),
    ("CHECK_BRANCHES", "2", "not true or false"),
    ("READ_OPENDIFY_TOKENS", "maybe", "not true or false"),
    ("KEEP_PARTIAL_ANSWERS", "5", "not true or false"),
    ("CONVERSATION_MEMORY_MODE", "9", f"not one of {MODES}"),
    ("CONVERSATION_MEMORY_MODE", "+1", f"not one of {MODES}"),
    ("CONNECT_TIMEOUT", "0", "not between 0.1 and 300 seconds"),
    ("FIRST_BYTE_TIMEOUT", "1h", "not a number of seconds"),
    ("STREAM_IDLE_TIMEOUT", "-5", "not between 0.1 and 3600 seconds"),
    ("STREAM_STALL_TIMEOUT", "90000", "not between 0.1 and 86400 seconds"),
    ("ANSWER_TIMEOUT", "0.5", "not between 1 and 86400 seconds"),
    ("CLIENT_WRITE_TIMEOUT", "0", "not between 0.1 and 3600 seconds"),
    ("COMMIT_AFTER", "301", "not between 0 and 300 seconds"),
    ("KEEP_ALIVE_SECONDS", "0", "not between 0.05 and 300 seconds"),
    ("IDEMPOTENCY_BYTES", "64MB", "not a whole number"),
    ("IDEMPOTENCY_GRACE_SECONDS", "-1", "not between 0 and 300 seconds"),
    ("LOG_LEVEL", "verbose", "not one of debug, info, warning, error"),
    ("LOG_FORMAT", "xml", "not one of text, json"),
]


@pytest.mark.parametrize("written", ["0", "0.05", "inf", "nan", "100001", "fast"])
def test_a_rate_is_a_number_within_bounds(written: str) -> None:
    (problem,) = problems(STARTS_PER_SECOND=written)
    assert problem.startswith(f"STARTS_PER_SECOND={written!r}: not ")


def test_every_memory_mode_can_be_chosen_and_is_explained() -> None:
    meaning = dict(knobs())["CONVERSATION_MEMORY_MODE"].meaning
    for number, memory in MEMORY_MODES.items():
        assert load_settings({"CONVERSATION_MEMORY_MODE": str(number)}).conversation_memory_mode == number
        assert f"{number} {memory.meaning}" in meaning


@pytest.mark.parametrize(("name", "written", "why"), BAD)
def test_a_bad_value_has_its_line(name: str, written: str, why: str) -> None:
    assert problems(**{name: written}) == [f"{name}={written!r}: {why}"]


@pytest.mark.parametrize("url", ["cache:6379", "http://cache", "redis://", "redis://:secret@cache:port/0", "unix://"])
def test_a_bad_redis_url_is_not_shown(url: str) -> None:
    assert problems(REDIS_URL=url) == ["REDIS_URL: not redis://host:port/number, rediss://… or unix:///path"]


def test_everything_wrong_is_told_at_once() -> None:
    found = problems(
        SERVER_HOST="0.0.0.0",
        SERVER_PORT="http",
        LOG_LEVEL="loud",
        CA_FILE="/does/not/exist.pem",
        DIFY_API_BASE="https://dify/v1",
        DIFY_API_KEYS="app-a?mode=x,app-b,app-c?memory=x",
    )
    assert [problem.partition(":")[0] for problem in found] == [
        "SERVER_PORT='http'",
        "LOG_LEVEL='loud'",
        "SERVER_HOST='0.0.0.0'",
        "CA_FILE='/does/not/exist.pem'",
        "DIFY_API_KEYS, key 1",
        "DIFY_API_KEYS, key 3",
    ]


@pytest.mark.parametrize("name", ["ALLOW_ANONYMOUS", "VALID_API_KEYS"])
def test_one_mistake_is_told_once(name: str) -> None:
    assert len(problems(SERVER_HOST="0.0.0.0", **{name: "é"})) == 1
    assert len(problems(DIFY_API_BASE="dify.lan", DIFY_API_KEYS="app-a,app-b")) == 1


# --- knobs together ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_on_loopback_no_client_keys_are_needed(host: str) -> None:
    assert load_settings({"SERVER_HOST": host}).server_host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gateway.lan", "*"])
def test_beyond_loopback_anonymous_use_must_be_wanted(host: str) -> None:
    (problem,) = problems(SERVER_HOST=host)
    assert problem.startswith(f"SERVER_HOST={host!r}: without VALID_API_KEYS anybody")
    assert "ALLOW_ANONYMOUS=true" in problem
    assert problems(SERVER_HOST=host, VALID_API_KEYS=" , ", ALLOW_ANONYMOUS="no") == [problem]
    assert load_settings({"SERVER_HOST": host, "VALID_API_KEYS": "sk-a"}).server_host == host
    assert load_settings({"SERVER_HOST": host, "ALLOW_ANONYMOUS": "true"}).server_host == host


def test_a_ca_file_must_hold_certificates(tmp_path: Path, certificate: Path) -> None:
    assert load_settings({"CA_FILE": str(certificate)}).ca_file == str(certificate)
    file = tmp_path / "ca.pem"
    assert problems(CA_FILE=str(file)) == [f"CA_FILE={str(file)!r}: No such file or directory"]
    assert problems(CA_FILE=str(tmp_path))[0].startswith(f"CA_FILE={str(tmp_path)!r}: ")
    for text in ("", "no certificate", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"):
        file.write_text(text)
        assert problems(CA_FILE=str(file)) == [f"CA_FILE={str(file)!r}: holds no PEM certificate, or a broken one"]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A PEM file of a certificate that the system trusts."""
    context = ssl.create_default_context()
    trusted = context.get_ca_certs(binary_form=True)
    if not trusted:
        pytest.skip("the system trusts no certificate")
    path = tmp_path / "trusted.pem"
    path.write_text(ssl.DER_cert_to_PEM_cert(trusted[0]))
    return path


def test_app_keys_are_read_with_the_base() -> None:
    settings = load_settings({"DIFY_API_KEYS": "app-a,app-b@http://b/v1", "DIFY_API_BASE": "http://a/v1/"})
    assert settings.app_keys == (AppKey("app-a", "http://a/v1"), AppKey("app-b", "http://b/v1"))


# --- keys are shown nowhere -------------------------------------------------------------------------------------------


def test_no_key_is_in_the_representation() -> None:
    settings = load_settings(
        {"DIFY_API_KEYS": APP_KEY, "DIFY_API_BASE": "http://dify/v1", "VALID_API_KEYS": CLIENT_KEY}
    )
    assert isinstance(settings, Settings)
    assert APP_KEY in settings.dify_api_keys
    assert "SECRET" not in repr(load_settings({"REDIS_URL": "redis://:SECRET@host/0"}))
    for shown in (repr(settings), str(settings), f"{settings.app_keys}"):
        assert "SECRET" not in shown


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", [APP_KEY, CLIENT_KEY])
def test_no_key_is_in_a_problem_even_in_the_wrong_place(name: str, key: str) -> None:
    for written in (key, f"{key},{key}", f"{key} {key}", f"{key}é", f"http://user:{key}@host", f"{key}@x?{key}"):
        try:
            settings = load_settings({name: written})
        except BadSettings as error:
            shown = f"{error} {error!r}"
        else:
            assert name in ("VALID_API_KEYS", "DIFY_API_KEYS")
            shown = repr(settings)
        assert "SECRET" not in shown


def test_a_client_key_that_cannot_be_sent_is_told_by_its_place() -> None:
    why = "has a character that no HTTP client can send"
    assert problems(VALID_API_KEYS="sk-a, sk-b sk-c") == [f"VALID_API_KEYS: key 2 {why}"]
    assert problems(VALID_API_KEYS="schlüssel") == [f"VALID_API_KEYS: key 1 {why}"]
    assert problems(VALID_API_KEYS="\udcff") == [f"VALID_API_KEYS: key 1 {why}"]


# --- printed forms ----------------------------------------------------------------------------------------------------


def test_the_example_names_every_knob_in_comments() -> None:
    text = env_example()
    lines = text.splitlines()
    assert all(not line or line.startswith("#") for line in lines)
    assert [
        line[1:].partition("=")[0] for line in lines if line.startswith("#") and line[1:2] not in (" ", "")
    ] == NAMES
    assert all(len(line) <= 120 for line in lines)
    assert not any(line.endswith("\\") for line in lines)  # a comment would go on in the next line
    assert parse_env_file(text).values == {}
    assert text.endswith("\n")


def test_the_example_without_its_comment_signs_is_the_defaults() -> None:
    lines = env_example().splitlines()
    text = "\n".join(line[1:] if line.startswith("#") and line[1:2] != " " else line for line in lines)
    found = parse_env_file(text)
    assert found.values == {name: knob.default for name, knob in knobs()}
    assert found.ignored == []
    assert load_settings(found.values) == load_settings({})


def test_the_table_has_a_row_for_every_knob() -> None:
    head, line, *rows = settings_table().splitlines()
    assert (head, line) == ("| setting | default | meaning |", "|---|---|---|")
    for row, (name, knob) in zip(rows, knobs(), strict=True):
        cells = [cell.strip() for cell in row.strip("|").replace("\\|", "¦").split("|")]
        assert cells == [f"`{name}`", f"`{knob.default}`" if knob.default else "", knob.meaning.replace("|", "¦")]
