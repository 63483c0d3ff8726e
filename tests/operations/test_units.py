"""The unit files by themselves: exposure, syntax, and that they agree with the program."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.settings import knobs

CONF = Path(__file__).parents[2] / "conf"
SERVICE = CONF / "gateway@.service"

needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (scripts/debian-packages)"
)


def analyze(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        ["systemd-analyze", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30
    )
    return done.returncode, done.stdout


def exposure(unit: Path) -> tuple[int, str]:
    return analyze("security", "--offline=yes", "--threshold=11", str(unit))  # 11: at most 1.1 of 10


@needs_analyze
def test_the_service_exposes_as_little_as_it_can(tmp_path: Path) -> None:
    status, text = exposure(SERVICE)
    assert status == 0, text
    weaker = tmp_path / "gateway@.service"
    weaker.write_text(SERVICE.read_text().replace("PrivateDevices=yes", "PrivateDevices=no"))
    assert exposure(weaker)[0] != 0


@needs_analyze
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    units = tmp_path / "etc/systemd/system"
    shutil.copytree("/lib/systemd/system", tmp_path / "lib/systemd/system", symlinks=True)
    units.mkdir(parents=True)
    for unit in CONF.glob("gateway*.*"):
        shutil.copy(unit, units)
    release = "opt/opendify-gateway/current"
    for program in (f"{release}/bin/python", f"{release}/renew-credentials", "bin/kill", "bin/rm"):
        (tmp_path / program).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / program).touch(0o755)
    names = ("gateway@9001.service", "gateway@9001.socket", "gateway.target")
    assert analyze(f"--root={tmp_path}", "verify", *names) == (0, "")
    with (units / SERVICE.name).open("a") as unit:
        unit.write("[Service]\nRestrt=always\n")
    assert "Restrt" in analyze(f"--root={tmp_path}", "verify", *names)[1]


def test_the_process_metrics_can_read_what_they_need() -> None:
    assert "\nProcSubset=" not in SERVICE.read_text()


def test_every_secret_has_a_credential_of_its_own() -> None:
    lines = SERVICE.read_text().splitlines()
    secrets = [name.lower() for name, knob in knobs() if knob.secret]
    assert "dify_api_keys" in secrets
    for name in ("gateway.env", *secrets):
        assert f"LoadCredential={name}:/etc/opendify-gateway/{name}" in lines
    assert f"for file in {' '.join(secrets)}; do" in (CONF.parent / "scripts/install-service").read_text()
