"""python -m tests.simulator: a Dify to play with when there is none."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.simulator.apps import App, apps_of
from tests.simulator.script import help_lines
from tests.simulator.server import Simulator
from tests.simulator.versions import VERSIONS

_EPILOG = (
    "The user's text steers the answer: put directives in double square brackets anywhere in it,\n"
    'for example  "hello [[n=50 delay=0.1]]". The last brackets count.\n\n'
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulator",
        description="A simulated Dify Service API, for tests and demos.",
        epilog=_EPILOG + "\n".join(f"  {line}" for line in help_lines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (0: a free one)")
    parser.add_argument("--dify-version", choices=VERSIONS, default="1.12.1", help="release (%(default)s)")
    parser.add_argument("--all-apps", action="store_true", help="list the keys of the apps made for tests, too")
    parser.add_argument("--speed", type=float, default=1.0, help="how many times as fast as Dify (%(default)s)")
    parser.add_argument("--traces", type=Path, default=None, help="directory of recordings for [[replay=...]]")
    options = parser.parse_args(arguments)
    if options.speed <= 0:
        parser.error("--speed must be positive")
    try:
        asyncio.run(_serve(options))
    except OSError as problem:
        parser.exit(1, f"cannot listen on {options.host}:{options.port}: {problem.strerror}\n")
    except KeyboardInterrupt:
        pass
    return 0


async def _serve(options: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    listed = [app for app in apps_of(VERSIONS[options.dify_version]) if app.in_demo or options.all_apps]
    simulator = Simulator(options.dify_version, speed=options.speed, traces_dir=options.traces)
    await simulator.start(options.host, options.port)
    try:
        try:
            _announce(simulator, listed)
        except BrokenPipeError:  # whoever started us read two lines and left
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        await stopped.wait()
    finally:
        await simulator.stop()


def _announce(simulator: Simulator, apps: Sequence[App]) -> None:
    """Two lines for programs, the rest for people."""
    print(f"DIFY_API_BASE={simulator.base_url}", flush=True)
    print(f"DIFY_API_KEYS={','.join(app.key for app in apps)}", flush=True)
    print(f"\nA simulated Dify {simulator.version} with these apps:\n")
    for app in apps:
        print(f"  {app.name:<22} {app.mode:<14} {app.key}")
    print('\nSteer an answer from inside the question, e.g. "hello [[n=50 delay=0.1]]" or "hello [[fail=429]]".')
    print("All directives: python -m tests.simulator --help", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
