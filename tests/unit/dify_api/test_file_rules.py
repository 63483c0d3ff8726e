"""What the recorded /parameters of 0.15.3 and 1.12.1 say about files, and what odd ones do not break."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.dify_api.file_rules import (
    NO_LIMITS,
    SizeLimits,
    read_message_rules,
    read_size_limits,
    read_variable_rules,
)
from gateway.exchange.model import FileRules

TRACES = Path(__file__).parents[2] / "traces"
LOCAL, REMOTE = "local_file", "remote_url"
ALL = ("image", "document", "audio", "video", "custom")
MB = 1024 * 1024


def parameters(version: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((TRACES / version / f"{name}.body").read_text())
    return found


@pytest.mark.parametrize(
    ("version", "name", "rules"),
    [
        ("0.15.3", "info_parameters_agent", None),
        ("0.15.3", "info_parameters_workflow-files", None),
        ("0.15.3", "info_parameters_chat-vision", FileRules(("image",), (), (), (REMOTE, LOCAL), 2)),
        ("1.12.1", "info_parameters_chat-vision", FileRules(("image",), (), (REMOTE, LOCAL), (REMOTE, LOCAL), 2)),
        ("0.15.3", "info_parameters_chatflow-files", FileRules(("image",), (), (LOCAL, REMOTE), (), 3)),
        ("1.12.1", "info_parameters_chatflow-files", FileRules(("image", "document"), (), (LOCAL, REMOTE), (), 3)),
        (
            "0.15.3",
            "params2_parameters_multi_chat",
            FileRules(ALL, (".zip", ".dat"), (LOCAL, REMOTE), (LOCAL, REMOTE), 6),
        ),
    ],
)
def test_the_files_of_a_message(version: str, name: str, rules: FileRules | None) -> None:
    assert read_message_rules(parameters(version, name)["file_upload"]) == rules


def test_the_files_of_variables() -> None:
    form = parameters("0.15.3", "params2_parameters_params_workflow")["user_input_form"]
    rules = [read_variable_rules(kind, field) for entry in form for kind, field in entry.items()]
    assert rules == [
        *[None] * 4,
        FileRules(("image", "document"), (), (LOCAL, REMOTE), (), 1),
        FileRules(ALL, (".zip",), (LOCAL, REMOTE), (), 3),
    ]


def test_sizes_are_told_in_megabytes() -> None:
    told = parameters("1.12.1", "info_parameters_chat-vision")["system_parameters"]
    assert read_size_limits(told) == SizeLimits(image=10 * MB, audio=50 * MB, video=100 * MB, other=15 * MB)


@pytest.mark.parametrize("odd", [None, [], "x", {}, {"enabled": 1}, {"image": "x"}, {"enabled": "true"}])
def test_an_odd_setting_means_no_files(odd: object) -> None:
    assert read_message_rules(odd) is None
    assert read_size_limits(odd) == NO_LIMITS


def test_odd_details_are_no_limits() -> None:
    odd = {"enabled": True, "allowed_file_types": "image", "allowed_file_extensions": [1, ".ZIP"], "number_limits": 0}
    assert read_message_rules(odd) == FileRules(extensions=(".zip",))
    assert read_variable_rules("file-list", {"max_length": 100_000}) == FileRules()  # what flows write everywhere
    assert read_size_limits({"file_size_limit": "15", "image_file_size_limit": 0}) == NO_LIMITS
