"""`python -m gateway`: serve | check | check-settings | apps | env-example | settings-table | metrics-table."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gateway.apps.registry import AppState
from gateway.configuration import read_settings
from gateway.load_settings import BadSettings
from gateway.observability.logs import set_up_logs
from gateway.observability.metrics import metrics_table
from gateway.printed_settings import env_example, settings_table
from gateway.server import Server
from gateway.services import build_services
from gateway.settings import Settings
from gateway.systemd.notify import Notifier
from gateway.systemd.sockets import bound_settings, inherited_sockets

_CONFIGURATION_ERROR = 78  # EX_CONFIG of sysexits.h


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status is returned."""
    parser = argparse.ArgumentParser(prog="python -m gateway", description="Every Dify app for every OpenAI client.")
    parser.add_argument("--env-file", type=Path, help="settings file (default: .env, if there)")
    commands = parser.add_subparsers(dest="command", metavar="command")
    for name, (_, meaning) in _COMMANDS.items():
        commands.add_parser(name, help=meaning, description=meaning)
    options = parser.parse_args(arguments)
    command, _ = _COMMANDS[options.command or "serve"]
    if options.env_file is not None and not options.env_file.exists():
        print(f"The settings file {options.env_file} does not exist.", file=sys.stderr)
        return _CONFIGURATION_ERROR
    return command(options.env_file)


@dataclass(frozen=True)
class _Start:
    """What a command that needs the configuration begins with."""

    settings: Settings
    sockets: list[socket.socket]  # that systemd has bound; empty without it
    read_again: Callable[[], Settings]


def _with_settings(run: Callable[[_Start], int]) -> Callable[[Path | None], int]:
    """A command that needs the configuration: whatever is wrong with it is printed, all at once."""

    def command(env_file: Path | None) -> int:
        set_up_logs("info", "text")  # for what reading the settings has to say
        try:
            sockets = inherited_sockets(os.environ, os.getpid())
            read = partial(read_settings, env_file, bound_settings(sockets))
            settings = read()
        except (BadSettings, OSError) as error:
            problems = error.problems if isinstance(error, BadSettings) else [str(error)]
            print("The configuration cannot be used:", *(f"  {line}" for line in problems), sep="\n", file=sys.stderr)
            return _CONFIGURATION_ERROR
        set_up_logs(settings.log_level, settings.log_format)
        return run(_Start(settings, sockets, read))

    return command


def _serve(start: _Start) -> int:
    settings = start.settings
    if not settings.app_keys:
        print(
            "DIFY_API_KEYS is empty: set it in the environment or in .env (see .env.example), "
            "or run scripts/serve to see a demo.",
            file=sys.stderr,
        )
        return _CONFIGURATION_ERROR

    async def serve() -> None:
        notifier = Notifier(os.environ, os.getpid())
        await Server(settings, start.read_again, sockets=start.sockets, notifier=notifier).run()

    try:
        asyncio.run(serve())
    except OSError as error:
        print(f"Cannot listen on {settings.server_host}:{settings.server_port}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _check_settings(start: _Start) -> int:
    if not start.settings.app_keys:
        print("No app keys: set DIFY_API_KEYS.", file=sys.stderr)
        return _CONFIGURATION_ERROR
    print(f"The settings can be used, with {len(start.settings.app_keys)} keys.")
    return 0


def _check(start: _Start) -> int:
    settings = start.settings
    set_up_logs("error", settings.log_format)  # the report itself tells what failed
    states = asyncio.run(_ask_dify(settings))
    _print_apps(states)
    failed = [state for state in states if state.error]
    if not states:
        print("No app keys: set DIFY_API_KEYS.", file=sys.stderr)
        return _CONFIGURATION_ERROR
    print(f"{len(states) - len(failed)} of {len(states)} keys work.")
    return 1 if failed else 0


def _apps(start: _Start) -> int:
    set_up_logs("error", start.settings.log_format)
    _print_apps(asyncio.run(_ask_dify(start.settings)))
    return 0


async def _ask_dify(settings: Settings) -> tuple[AppState, ...]:
    services = build_services(settings)
    try:
        services.dify.start()
        await services.refresher.refresh()
        return services.registry.states
    finally:
        await services.close()


def _print_apps(states: tuple[AppState, ...]) -> None:
    rows = [("MODEL", "MODE", "REQUIRED INPUTS", "KEY", "STATE")]
    for state in states:
        app = state.app
        required = ", ".join(field.variable for field in app.inputs if field.required) if app else ""
        rows.append(
            (
                app.model_id if app else "-",
                app.mode if app else "-",
                required or "-",
                state.key.hint,
                state.error or "ok",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]))


def _printer(text: Callable[[], str]) -> Callable[[Path | None], int]:
    def command(env_file: Path | None) -> int:
        print(text(), end="")
        return 0

    return command


_COMMANDS: dict[str, tuple[Callable[[Path | None], int], str]] = {
    "serve": (_with_settings(_serve), "serve the apps (the default)"),
    "check": (_with_settings(_check), "validate the configuration and ask Dify about every key"),
    "check-settings": (_with_settings(_check_settings), "validate the configuration without asking anybody"),
    "apps": (_with_settings(_apps), "print model id, mode, required inputs, key and state of every app"),
    "env-example": (_printer(env_example), "print .env.example"),
    "settings-table": (_printer(settings_table), "print all settings as a Markdown table"),
    "metrics-table": (_printer(metrics_table), "print all metrics as a Markdown table"),
}
