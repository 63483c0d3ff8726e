"""The real units under a real systemd: installed, started, reloaded, restarted, watched, stopped, removed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.operations.booted_systemd import ROOT, SYSTEM_PATH, BootedSystemd, why_not
from tests.simulator.apps import DEMO_CHAT, DEMO_WORKFLOW

WHY_NOT = why_not()
pytestmark = [pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT)), pytest.mark.timeout(180)]

FIRST, SECOND = "http://127.0.0.1:9001", "http://127.0.0.1:9002"
SETTINGS = "/etc/opendify-gateway"
(WATCHDOG,) = re.findall(r"^WatchdogSec=20s$", (ROOT / "conf/gateway@.service").read_text(), re.MULTILINE)
SHORT = f"[Service]\n{WATCHDOG.replace('20', '3')}\n"
PIP = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels", "PIP_CONFIG_FILE": "/dev/null"}


class Machine(BootedSystemd):
    """With the gateway's words."""

    def install(self, *arguments: str, status: int = 0) -> str:
        command = 'umask 0077; exec /checkout/scripts/install-service "$@"'  # as a careful root has it
        return self.run("bash", "-c", command, "bash", *arguments, status=status, **PIP)

    def get(self, url: str) -> str:
        """The answer's text; a server that is not there yet is waited for."""
        return self.run("curl", "--silent", "--show-error", "--max-time", "20", url)

    def models(self, url: str = FIRST) -> str:
        return self.get(f"{url}/v1/models")

    def show(self, what: str, unit: str = "gateway@9001.service") -> str:
        return self.run("systemctl", "show", "--property", what, "--value", unit)

    def journal(self, unit: str = "gateway@9001.service") -> str:
        return self.run("journalctl", "--unit", unit, "--output=cat", "--no-pager")

    def write_settings(self, **files: str) -> None:
        for name, text in files.items():
            self.path(f"{SETTINGS}/{name.replace('_env', '.env')}").write_text(text)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What install-service needs from a package index, since the container has no network."""
    directory = tmp_path_factory.mktemp("wheels")
    python = shutil.which("python3", path=SYSTEM_PATH)
    assert python is not None
    download = ["download", "--quiet", "--dest", str(directory), "--requirement", str(ROOT / "requirements.txt")]
    subprocess.run([sys.executable, "-m", "pip", "--python", python, *download], check=True, timeout=50)
    return directory


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Iterator[Machine]:
    """Two installed gateways and a simulated Dify; every test leaves them serving the chatbot."""
    with Machine(tmp_path_factory.mktemp("systemd"), wheels=wheels) as machine:
        dify = machine.beside(sys.executable, "-m", "tests.simulator")
        assert dify.stdout is not None
        base = dify.stdout.readline().removeprefix("DIFY_API_BASE=")
        dify.stdout.readline()  # its keys
        assert "No app keys: set DIFY_API_KEYS." in machine.install("2", status=78)
        # SERVER_HOST as OpenDify's .env often has it: the units say where to listen, and nobody needs a key there.
        settings = f"DIFY_API_BASE={base}UNREADY_SECONDS=0.2\nSERVER_HOST=0.0.0.0\n"
        machine.write_settings(gateway_env=settings, dify_api_keys=DEMO_CHAT.key)
        machine.run("mkdir", "/run/systemd/system/gateway@.service.d")
        machine.path("/run/systemd/system/gateway@.service.d/short.conf").write_text(SHORT)
        assert "9001 9002 are ready" in machine.install("2")
        yield machine


def test_both_gateways_serve_and_systemd_finds_nothing_wrong(machine: Machine) -> None:
    for url in (FIRST, SECOND):
        assert machine.get(f"{url}/readyz").startswith("ready")
        assert "Demo Chatbot" in machine.models(url)
    units = ("gateway@9001.service", "gateway@9001.socket", "gateway.target")
    assert machine.run("systemd-analyze", "verify", *units) == ""
    assert machine.show("StatusText").startswith("serving, 1 apps")
    assert machine.run("systemctl", "is-enabled", *units) == "enabled\nenabled\nenabled"


def test_the_sandbox_holds_and_shows_the_process_metrics(machine: Machine) -> None:
    process = machine.show("MainPID")
    told = dict(line.split(":\t", 1) for line in machine.path(f"/proc/{process}/status").read_text().splitlines())
    assert (told["CapEff"], told["CapBnd"], told["Seccomp"], told["NoNewPrivs"]) == ("0" * 16, "0" * 16, "2", "1")
    assert "0" not in told["Uid"].split()
    assert DEMO_CHAT.key not in machine.path(f"/proc/{process}/environ").read_text()
    as_service = ("setpriv", f"--reuid={told['Uid'].split()[0]}", "--clear-groups")
    machine.run(*as_service, "cat", f"{SETTINGS}/dify_api_keys", status=1)
    metrics = machine.get(f"{FIRST}/metrics")
    for name in ("process_start_time_seconds", "process_resident_memory_bytes", "process_open_fds"):
        assert f"\n{name} " in metrics


def test_a_reload_takes_new_keys_and_refuses_bad_files(machine: Machine) -> None:
    process = machine.show("MainPID")
    machine.write_settings(dify_api_keys=f"{DEMO_CHAT.key}\n{DEMO_WORKFLOW.key}\n")
    machine.run("systemctl", "reload", "gateway.target")
    wait_until(lambda: "Demo Workflow" in machine.models(FIRST) and "Demo Workflow" in machine.models(SECOND))

    good = machine.path(f"{SETTINGS}/gateway.env").read_text()
    machine.write_settings(gateway_env=good + "LOG_LEVEL=loud\n", dify_api_keys=DEMO_CHAT.key)
    machine.run("systemctl", "reload", "gateway@9001.service", status=1)
    assert "LOG_LEVEL='loud': not one of" in machine.journal()
    assert "Demo Workflow" in machine.models()

    machine.write_settings(gateway_env=good)
    machine.run("systemctl", "reload", "gateway.target")
    wait_until(lambda: "Demo Workflow" not in machine.models(FIRST) + machine.models(SECOND))
    assert machine.show("MainPID") == process


def test_a_restart_under_streams_loses_none(machine: Machine) -> None:
    before = machine.show("MainPID")
    streams = machine.beside(sys.executable, "-m", "tests.operations.streams", FIRST)
    wait_until(lambda: not machine.show("StatusText").endswith(", 0 answers in flight"))
    machine.run("systemctl", "restart", "gateway@9001.service")
    time.sleep(0.5)  # let the new one answer some
    seen = json.loads(streams.communicate("", timeout=30)[0])
    assert machine.show("MainPID") != before
    assert seen["lost"] == []
    assert seen["answered"] > 20
    assert machine.show("Result") == "success"


def test_a_hung_gateway_is_ended_by_the_watchdog_and_its_next_client_waits(machine: Machine) -> None:
    machine.run("systemctl", "kill", "--signal=STOP", "gateway@9001.service")
    assert machine.get(f"{FIRST}/healthz") == "ok"  # from the next process, on the same socket
    assert "Failed with result 'watchdog'" in machine.journal()


def test_a_killed_gateway_comes_back_with_the_keys_of_now(machine: Machine) -> None:
    machine.run("systemctl", "reload", "gateway@9002.service")
    machine.write_settings(dify_api_keys=DEMO_WORKFLOW.key)
    machine.run("systemctl", "kill", "--signal=KILL", "gateway@9002.service")
    assert "Demo Workflow" in machine.models(SECOND)
    machine.write_settings(dify_api_keys=DEMO_CHAT.key)
    machine.run("systemctl", "restart", "gateway@9002.service")


def test_a_long_answer_may_outlast_the_stop_timeout(machine: Machine) -> None:
    path = machine.path("/run/systemd/system/gateway@.service.d/short.conf")
    path.write_text(f"{SHORT}TimeoutStopSec=1s\n")
    machine.run("systemctl", "daemon-reload")
    messages = [{"role": "user", "content": "[[n=60 delay=0.05]]"}]
    question = json.dumps({"model": "Demo Chatbot", "stream": True, "messages": messages})
    answer = machine.beside("curl", "--silent", f"{FIRST}/v1/chat/completions", "--data", question)
    assert answer.stdout is not None
    answer.stdout.readline()
    machine.run("systemctl", "stop", "gateway@9001.service")
    assert answer.communicate(timeout=5)[0].rstrip().endswith("data: [DONE]")
    assert machine.show("Result") == "success"
    path.write_text(SHORT)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "gateway@9001.service")


def test_installing_again_changes_what_differs(machine: Machine) -> None:
    process = machine.show("MainPID")
    for mistaken in ("", "00", "08", "two", "2 65535", "1 9001 9002"):
        assert "Usage: " in machine.install(*mistaken.split(), status=2)
    machine.install("2")
    assert machine.show("MainPID") == process
    machine.install("1")
    assert machine.show("MainPID") == process
    assert machine.show("ActiveState", "gateway@9002.socket") == "inactive"
    good = machine.path(f"{SETTINGS}/gateway.env").read_text()
    machine.write_settings(gateway_env=f"{good}OTLP_ENDPOINT=http://127.0.0.1:4318\n")
    assert "opentelemetry-sdk" in machine.install("2", status=1)  # wanted now, and not among the wheels
    assert machine.show("MainPID") == process
    machine.write_settings(gateway_env=good)
    machine.path("/etc/systemd/system/gateway@.service").write_text("# as an older version had it\n")
    assert "Restarting the gateway on port 9001" in machine.install("2")
    assert machine.show("MainPID") != process
    assert "Demo Chatbot" in machine.models(SECOND)


def test_what_was_installed_can_be_removed_but_not_the_settings(machine: Machine) -> None:
    machine.install("--uninstall")
    left = machine.run("find", "/etc/systemd", "/opt", "/run", "-name", "*gateway*", "-not", "-path", "/run/systemd/*")
    assert left == ""
    assert machine.run("ls", SETTINGS).split() == ["dify_api_keys", "gateway.env", "redis_url", "valid_api_keys"]
    assert machine.run("systemctl", "list-units", "--no-legend", "gateway*") == ""


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
