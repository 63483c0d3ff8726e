"""Programs and packages that only the measuring needs, in a virtual environment of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.performance.systems import TOOLS, CannotRun

_REQUIREMENTS = Path(__file__).parent / "requirements.txt"
_FOLDER = TOOLS / "tools"


def program(name: str) -> str:
    """The path of an installed program, `python` for instance. Raises CannotRun."""
    found = _FOLDER / "bin" / name
    stamp = _FOLDER / ".installed"
    if not stamp.exists() or stamp.stat().st_mtime < _REQUIREMENTS.stat().st_mtime:
        print("installing what the measuring needs …", file=sys.stderr, flush=True)
        pip = [str(_FOLDER / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "-r", str(_REQUIREMENTS)]
        for command in ([sys.executable, "-m", "venv", str(_FOLDER)], pip):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise CannotRun(f"py-spy and matplotlib cannot be installed: {done.stderr.strip()[-200:]}")
        stamp.touch()
    return str(found)
