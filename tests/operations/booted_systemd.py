"""A real systemd with a root of its own: this machine's files with a memory file system over them, in a container.

Nothing of it is left when it ends: files vanish with the mount, processes with the container, its control groups are
removed. It has a loopback and no other network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parents[2]
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_DIES_WITH_US = ("setpriv", "--pdeathsig=TERM")  # a test run that is killed leaves nothing running

# $1 an empty directory, $2 a name of its own, $3 … options of systemd-nspawn.
_BOOT = """
set -e
directory=$1 name=$2
shift 2
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
  [ -e $hierarchy/cgroup.procs ] || continue
  mkdir $hierarchy/$name
  echo $$ > $hierarchy/$name/cgroup.procs
done
mount -t tmpfs -o size=1g,mode=0755 tmpfs "$directory"
mkdir "$directory"/{upper,work,root}
mount -t overlay overlay -o lowerdir=/,upperdir="$directory/upper",workdir="$directory/work" "$directory/root"
exec systemd-nspawn --quiet --directory="$directory/root" --machine="$name" --boot --private-network --register=no \
  --keep-unit --link-journal=no --console=pipe --resolv-conf=off --timezone=off "$@" -- --unit=basic.target
"""


def why_not() -> str | None:
    """Why this machine cannot boot one, if it cannot."""
    if os.getuid() != 0:
        return "needs root"
    missing = [program for program in ("systemd-nspawn", "nsenter", "unshare") if shutil.which(program) is None]
    if missing:
        return f"needs {', '.join(missing)} (scripts/debian-packages)"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        return "root may not mount here"
    python = shutil.which("python3", path=SYSTEM_PATH)
    if python is None or subprocess.run([python, "-c", "import ensurepip"], capture_output=True).returncode:
        return "needs the system's own Python with venv (scripts/debian-packages)"
    if Path("/opt/opendify-gateway").exists():
        return "the gateway is installed here as a service, and would show through"
    return None


class BootedSystemd:
    """The container; the checkout is at /checkout in it, and `folders` where they say."""

    def __init__(self, directory: Path, **folders: Path) -> None:
        self._directory = directory
        self._name = f"gateway-test-{os.getpid()}"
        self._folders = {"checkout": ROOT, **folders}
        self._beside: list[subprocess.Popen[str]] = []

    def __enter__(self) -> BootedSystemd:
        binds = [f"--bind-ro={path}:/{name}" for name, path in self._folders.items()]
        root = self._directory / "root"
        root.mkdir()
        self._log = self._directory / "boot.log"
        with self._log.open("wb") as log:
            command = [*_DIES_WITH_US, "unshare", "--mount", "--propagation", "private", "bash", "-c", _BOOT, "boot"]
            self._container = subprocess.Popen(
                [*command, root, self._name, *binds], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._wait_for_boot()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def run(self, *command: str, status: int = 0, seconds: float = 50, **environ: str) -> str:
        """Run a command in the container and expect its exit status; what it printed, errors included."""
        assignments = [f"{name}={value}" for name, value in {"PATH": SYSTEM_PATH, **environ}.items()]
        done = subprocess.run(
            [*self._enter("-m", "-p", "-n", "-u", "-i", "-C"), "env", "-i", *assignments, *command],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )
        assert done.returncode == status, f"{command} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout.strip()

    def beside(self, *command: str) -> subprocess.Popen[str]:
        """Start a program of this test run, from the checkout, in the container's network."""
        pipe = subprocess.PIPE
        program = subprocess.Popen(
            [*_DIES_WITH_US, *self._enter("-n"), *command], cwd=ROOT, stdin=pipe, stdout=pipe, text=True
        )
        self._beside.append(program)
        return program

    def path(self, inside: str) -> Path:
        """A file of the container, from outside."""
        return Path(f"/proc/{self._leader()}/root{inside}")

    def _enter(self, *namespaces: str) -> Sequence[str]:
        return ("nsenter", "--target", str(self._leader()), *namespaces, "--")

    def _leader(self) -> int:
        """The container's first process, as this machine counts."""
        (children,) = Path(f"/proc/{self._container.pid}/task").glob("*/children")
        return int(children.read_text().split()[0])

    def _wait_for_boot(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            assert self._container.poll() is None, f"the container ended:\n{self._log.read_text()}"
            try:
                self.run("systemctl", "is-system-running", seconds=5)
                return
            except (AssertionError, IndexError, ValueError, subprocess.TimeoutExpired):  # not yet
                assert time.monotonic() < deadline, f"systemd does not come up:\n{self._log.read_text()}"
                time.sleep(0.1)

    def _end(self) -> None:
        for program in self._beside:
            if program.poll() is None:
                program.terminate()
                program.communicate()
        if self._container.poll() is None:
            self._container.terminate()  # an orderly shutdown
            try:
                self._container.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.kill(self._leader(), 9)  # the kernel ends the rest of the container with it
                self._container.wait(timeout=10)
        for hierarchy in Path("/sys/fs/cgroup").glob(f"**/{self._name}"):
            for group in sorted(hierarchy.rglob("*/"), reverse=True):
                group.rmdir()
            hierarchy.rmdir()
