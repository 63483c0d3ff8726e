"""Child processes, as an operator would run them: output in files, ended by their own id."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Process:
    """A running command; `output` is what it printed, `log` what it wrote to standard error."""

    def __init__(self, name: str, command: list[str], directory: Path, **environ: str) -> None:
        self.name = name
        self.output_path = directory / f"{name}.out"
        self.log_path = directory / f"{name}.log"
        self._mark = 0
        # Nothing of the developer's own environment: neither settings of the gateway nor proxies.
        clean = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        with self.output_path.open("wb") as output, self.log_path.open("wb") as log:
            self._child = subprocess.Popen(
                command, cwd=ROOT, env=clean | environ, stdin=subprocess.DEVNULL, stdout=output, stderr=log
            )

    def wait_for(self, pattern: str, path: Path, seconds: float = 20.0) -> str:
        """The group of the first match in what the process writes to `path`."""
        deadline = time.monotonic() + seconds
        while not (match := re.search(pattern, path.read_text("utf-8", "replace"), re.MULTILINE)):
            assert self._child.poll() is None, f"{self.name} ended:\n{self.log_path.read_text()}"
            assert time.monotonic() < deadline, f"{self.name} is not ready:\n{self.log_path.read_text()}"
            time.sleep(0.02)
        return match[1]

    def mark(self) -> None:
        """From here on begins what `recent_log` shows."""
        self._mark = self.log_path.stat().st_size

    def recent_log(self) -> str:
        with self.log_path.open("rb") as file:
            file.seek(self._mark)
            return file.read().decode("utf-8", "replace")

    def stop(self) -> int:
        """End it as a service manager does; its exit status."""
        self._child.terminate()
        try:
            return self._child.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return self._child.wait()


def run_client(interpreter: Path, script: Path, *arguments: str) -> Any:
    """Run a client of another language or environment to its end; the JSON that it printed."""
    assert interpreter.exists(), f"{interpreter} is missing: scripts/test sets it up"
    done = subprocess.run(
        [interpreter, script, *arguments], capture_output=True, timeout=50, env={"PATH": os.environ["PATH"]}
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)
