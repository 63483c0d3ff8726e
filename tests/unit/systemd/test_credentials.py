"""Credentials are files; what a reload brought wins."""

from __future__ import annotations

from pathlib import Path

from gateway.systemd.credentials import credential


def test_the_newest_file_of_a_name_is_found(tmp_path: Path) -> None:
    given, renewed = tmp_path / "given", tmp_path / "renewed"
    environ = {"CREDENTIALS_DIRECTORY": str(given), "RENEWED_CREDENTIALS_DIRECTORY": str(renewed)}
    assert credential("key", environ) is None
    given.mkdir()
    (given / "key").touch()
    assert credential("key", environ) == given / "key"
    renewed.mkdir()
    assert credential("key", environ) == given / "key"
    (renewed / "key").touch()
    assert credential("key", environ) == renewed / "key"
    assert credential("key", {}) is None
    assert credential("key", {"CREDENTIALS_DIRECTORY": ""}) is None
