"""Where settings come from: file, credentials, environment, inherited sockets, and which of them wins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.configuration import read_settings
from gateway.load_settings import BadSettings, load_settings
from gateway.settings import knobs

SECRET = "app-SECRETsecret0123456789"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty directory, no settings and no credentials in the environment."""
    for name in ("CREDENTIALS_DIRECTORY", "RENEWED_CREDENTIALS_DIRECTORY", *(name for name, _ in knobs())):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def write(text: str | bytes, name: str = ".env") -> Path:
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.fixture
def _credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    monkeypatch.setenv("RENEWED_CREDENTIALS_DIRECTORY", str(tmp_path / "renewed"))


def test_without_a_file_the_environment_alone_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings(Path("missing")) == load_settings({})
    monkeypatch.setenv("SERVER_PORT", "8000")
    assert read_settings(Path("missing")).server_port == 8000


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("SERVER_PORT=8000\nLOG_FORMAT='json' \n")
    assert read_settings(path).server_port == 8000
    monkeypatch.setenv("SERVER_PORT", "9000")
    settings = read_settings(path)
    assert (settings.server_port, settings.log_format) == (9000, "json")
    assert os.environ["SERVER_PORT"] == "9000"
    assert "LOG_FORMAT" not in os.environ


@pytest.mark.parametrize("text", ["SERVER_PORT=8000\r\n", "\ufeffSERVER_PORT=8000", "\ufeff\nSERVER_PORT=8000\n"])
def test_a_file_from_windows_is_read(text: str) -> None:
    assert read_settings(write(text)).server_port == 8000


@pytest.mark.parametrize(
    ("content", "why"), [(b"A=\xff", ".env: is not UTF-8"), (b"SERVER_PORT=80\x0000", ".env: has a NUL character")]
)
def test_a_file_that_systemd_refuses_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(BadSettings) as caught:
        read_settings(write(content))
    assert caught.value.problems == [why]


def test_an_ignored_line_is_reported_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    path = write(f"DIFY_API_KEYS=app-a@http://a/v1,\n  {SECRET}@http://b/v1?mode=chat\nexport LOG_LEVEL=debug\n")
    settings = read_settings(path)
    assert settings.log_level == "info"
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [".env, line 2", ".env, line 3"]
    assert "SECRET" not in caplog.text


# --- credentials ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_credentials")
def test_each_source_wins_over_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings(None).log_level == "info"
    write("LOG_LEVEL=debug\nQUEUE_LENGTH=7")
    assert read_settings(None).log_level == "debug"
    write("LOG_LEVEL=warning", "credentials/gateway.env")  # instead of .env, not beside it
    assert (read_settings(None).log_level, read_settings(None).queue_length) == ("warning", 100)
    write("error\n", "credentials/log_level")
    assert read_settings(None).log_level == "error"
    monkeypatch.setenv("LOG_LEVEL", "info")
    assert read_settings(None).log_level == "info"
    assert read_settings(None, {"LOG_LEVEL": "debug"}).log_level == "debug"


@pytest.mark.usefixtures("_credentials")
def test_a_key_may_stand_in_each_line_of_a_credential() -> None:
    write("app-a@http://a/v1\r\napp-b@http://b/v1,app-c@http://c/v1\n\n", "credentials/dify_api_keys")
    assert [key.key for key in read_settings(None).app_keys] == ["app-a", "app-b", "app-c"]


@pytest.mark.usefixtures("_credentials")
def test_an_empty_credential_says_nothing() -> None:
    write("DIFY_API_KEYS=app-a@http://a/v1")
    write("\n", "credentials/dify_api_keys")
    assert [key.key for key in read_settings(None).app_keys] == ["app-a"]


@pytest.mark.usefixtures("_credentials")
def test_what_a_reload_brought_wins_over_what_was_there_at_the_start() -> None:
    write("LOG_LEVEL=debug", "credentials/gateway.env")
    write("app-a@http://a/v1", "credentials/dify_api_keys")
    write("app-b@http://b/v1", "renewed/dify_api_keys")
    settings = read_settings(None)
    assert ([key.key for key in settings.app_keys], settings.log_level) == (["app-b"], "debug")


@pytest.mark.usefixtures("_credentials")
def test_a_credential_that_cannot_be_read_is_named_and_not_shown() -> None:
    write(f"{SECRET}\0".encode(), "credentials/valid_api_keys")
    with pytest.raises(BadSettings, match="valid_api_keys: has a NUL character") as caught:
        read_settings(None)
    assert "SECRET" not in str(caught.value)


def test_an_inherited_socket_decides_who_must_have_a_key() -> None:
    write("SERVER_HOST=0.0.0.0")  # not where it listens
    assert read_settings(None, {"SERVER_HOST": "127.0.0.1", "SERVER_PORT": "8001"}).server_port == 8001
    write("SERVER_HOST=127.0.0.1")
    with pytest.raises(BadSettings, match="without VALID_API_KEYS anybody"):
        read_settings(None, {"SERVER_HOST": "::", "SERVER_PORT": "8001"})
