"""The command line: what is printed, how it exits."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gateway import app_keys, cli
from gateway.apps.registry import AppState
from gateway.cli import main
from gateway.dify_api.app import App, AppKey, AppMode
from gateway.exchange.model import InputField
from gateway.observability.metrics import metrics_table
from gateway.printed_settings import env_example, settings_table
from gateway.settings import Settings, knobs

SECRET = "app-SECRETsecret0123456789"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty directory, no settings in the environment, and logging as it is."""
    for name, _ in knobs():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "set_up_logs", lambda level, form: None)


def write(text: str | bytes, name: str = ".env") -> Path:
    path = Path(name)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


# --- a configuration that cannot be used ------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [[], ["serve"], ["check"], ["check-settings"], ["apps"]])
def test_a_bad_configuration_is_told_at_once_and_exits_78(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write(f"SERVER_PORT=http\nLOG_LEVEL=loud\nDIFY_API_KEYS={SECRET}@http://a/v1?x=1\n")
    assert main(command) == 78
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "The configuration cannot be used:",
        "  SERVER_PORT='http': not a whole number",
        "  LOG_LEVEL='loud': not one of debug, info, warning, error",
        f"  DIFY_API_KEYS, key 1: has an unknown option; there are {', '.join(app_keys._OPTIONS)}",
    ]


def test_a_file_that_cannot_be_read_exits_78(capsys: pytest.CaptureFixture[str]) -> None:
    Path("folder").mkdir()
    assert main(["--env-file", "folder", "check"]) == 78
    assert "folder" in capsys.readouterr().err


def test_a_named_file_must_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--env-file", "missing.env", "check"]) == 78
    assert capsys.readouterr().err == "The settings file missing.env does not exist.\n"


def test_a_named_file_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    write("SERVER_PORT=one")
    write("SERVER_PORT=two", "other.env")
    assert main(["--env-file", "other.env", "check"]) == 78
    assert "SERVER_PORT='two'" in capsys.readouterr().err


def test_serving_needs_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 78
    assert "DIFY_API_KEYS is empty" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["unknown"], ["serve", "extra"], ["--port", "1"]])
def test_wrong_arguments_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m gateway" in capsys.readouterr().err


# --- what is printed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "text"),
    [("env-example", env_example()), ("settings-table", settings_table()), ("metrics-table", metrics_table())],
)
def test_a_printed_form_needs_no_configuration(command: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    write("SERVER_PORT=http")
    assert main([command]) == 0
    assert capsys.readouterr() == (text, "")


KEYS = [AppKey("app-1111", "http://dify/v1"), AppKey("app-2222", "http://dify/v1")]
CHATBOT = App(KEYS[0], "Demo", "Demo", AppMode.CHAT)
WORKFLOW = App(
    KEYS[1],
    "Long Workflow",
    "Long Workflow",
    AppMode.WORKFLOW,
    inputs=(
        InputField("text", "paragraph", required=True),
        InputField("tone", "select"),
        InputField("n", "number", required=True),
    ),
)
GOOD = AppState(KEYS[0], CHATBOT, None, 0.0, 0.0)
STALE = AppState(KEYS[1], WORKFLOW, "Dify did not answer in time.", 0.0, 0.0)
NEVER = AppState(KEYS[1], None, "Dify rejects the key.", 0.0, None)


def _dify_tells(monkeypatch: pytest.MonkeyPatch, *states: AppState) -> None:
    async def ask(settings: Settings) -> tuple[AppState, ...]:
        return states

    monkeypatch.setattr(cli, "_ask_dify", ask)


@pytest.mark.parametrize(
    ("states", "status", "last"),
    [
        ([GOOD], 0, "1 of 1 keys work."),
        ([GOOD, STALE], 1, "1 of 2 keys work."),
        ([NEVER], 1, "0 of 1 keys work."),
    ],
)
def test_check_tells_how_many_keys_work(
    states: list[AppState],
    status: int,
    last: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _dify_tells(monkeypatch, *states)
    assert main(["check"]) == status
    assert capsys.readouterr().out.splitlines()[-1] == last


@pytest.mark.parametrize("command", ["check", "check-settings"])
def test_a_check_without_keys_says_so(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command]) == 78
    assert "No app keys: set DIFY_API_KEYS." in capsys.readouterr().err


def test_settings_are_checked_without_a_dify(capsys: pytest.CaptureFixture[str]) -> None:
    write("DIFY_API_KEYS=app-a@http://127.0.0.1:1/v1,app-b@http://127.0.0.1:1/v1")
    assert main(["check-settings"]) == 0
    assert capsys.readouterr() == ("The settings can be used, with 2 keys.\n", "")


def test_a_handed_over_descriptor_that_cannot_accept_exits_78(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(environ: object, pid: int) -> list[socket.socket]:
        raise OSError("descriptor 3 from systemd is no listening stream socket")

    monkeypatch.setattr(cli, "inherited_sockets", refuse)
    assert main([]) == 78
    assert "descriptor 3 from systemd" in capsys.readouterr().err


def test_apps_is_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _dify_tells(monkeypatch, GOOD, STALE, NEVER)
    assert main(["apps"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "MODEL          MODE      REQUIRED INPUTS  KEY    STATE",
        "Demo           chat      -                …1111  ok",
        "Long Workflow  workflow  text, n          …2222  Dify did not answer in time.",
        "-              -         -                …2222  Dify rejects the key.",
    ]
