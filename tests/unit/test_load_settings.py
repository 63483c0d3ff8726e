"""All knobs together: a bad configuration lists everything wrong and shows no key."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from gateway.dify_api.app import AppKey
from gateway.load_settings import BadSettings, load_settings
from gateway.settings import Settings, knobs

NAMES = [name for name, _ in knobs()]
APP_KEY = "app-SECRETsecret0123456789"
CLIENT_KEY = "sk-SECRETsecret0123456789"


def problems(**environ: str) -> list[str]:
    with pytest.raises(BadSettings) as caught:
        load_settings(environ)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


# --- one knob ---------------------------------------------------------------------------------------------------------


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


def test_what_needs_further_packages_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings({"OTLP_ENDPOINT": "http://127.0.0.1:4318"}).otlp_endpoint == "http://127.0.0.1:4318"
    missing = {"not_there.sdk": "opentelemetry-sdk", "json": "json", "json.not_there": "exporter"}
    monkeypatch.setattr("gateway.load_settings._OPENTELEMETRY", missing)
    assert load_settings({}).otlp_endpoint == ""
    with pytest.raises(BadSettings, match=r"^OTLP_ENDPOINT: install opentelemetry-sdk, exporter, or leave it empty$"):
        load_settings({"OTLP_ENDPOINT": "http://127.0.0.1:4318"})


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
