"""Answers as steps, without a clock and a socket."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.simulator import apps
from tests.simulator.agent_app import AgentApp
from tests.simulator.apps import ALL_APPS, App, apps_of
from tests.simulator.flow_app import FlowApp
from tests.simulator.message_app import MessageApp
from tests.simulator.producer import Producer
from tests.simulator.script import parse_script
from tests.simulator.speech import words
from tests.simulator.steps import Break, Event, Message, Send, SendPing, Silence, Turn, Wait
from tests.simulator.versions import VERSIONS

PRODUCERS = {"chat": MessageApp, "completion": MessageApp, "agent-chat": AgentApp, "agent": AgentApp}


def turn(app: App, query: str, version: str = "1.12.1", **fields: Any) -> Turn:
    values: dict[str, Any] = {
        "profile": VERSIONS[version],
        "app": app,
        "script": parse_script(query),
        "user": "u1",
        "end_user_id": "end-user",
        "query": query,
        "inputs": {},
        "task_id": "task",
        "message_id": "message",
        "conversation_id": "conversation",
        "workflow_run_id": "run",
        "workflow_id": "workflow",
        "app_id": "app",
        "created_at": 1_700_000_000,
        "base_url": "http://dify",
        "auto_generate_name": False,
    }
    return Turn(**(values | fields))


def producer(app: App, query: str, version: str = "1.12.1", **fields: Any) -> Producer:
    return PRODUCERS.get(app.mode, FlowApp)(turn(app, query, version, **fields))


def events(app: App, query: str, version: str = "1.12.1", **fields: Any) -> list[Event]:
    return [step.event for step in producer(app, query, version, **fields).steps() if isinstance(step, Send)]


def names(sequence: list[Event]) -> list[str]:
    """Event names with repetitions folded."""
    found = [event["event"] for event in sequence]
    return [name for index, name in enumerate(found) if index == 0 or found[index - 1] != name]


def text(sequence: list[Event]) -> str:
    return "".join(event["answer"] for event in sequence if event["event"] in ("message", "agent_message"))


def test_without_directives_it_is_friendly_and_streams_word_by_word() -> None:
    steps = list(producer(apps.DEMO_CHAT, "how are you?").steps())
    said = text([step.event for step in steps if isinstance(step, Send)])
    assert "Demo Chatbot" in said
    assert "how are you?" in said
    assert {step.seconds for step in steps if isinstance(step, Wait)} == {0.03}


def test_pauses_come_before_the_first_and_between_tokens() -> None:
    steps = list(producer(apps.DEMO_CHAT, "[[n=2 first=3 delay=0.5]]").steps())
    assert [step.seconds if isinstance(step, Wait) else "say" for step in steps][:4] == [3.0, "say", 0.5, "say"]


def test_the_prompt_shows_earlier_turns_inputs_and_files() -> None:
    history = (Message("user", "a"), Message("assistant", "b"))
    fields = {"history": history, "inputs": {"name": "Bob"}, "files": ({"type": "image", "url": "http://x"},)}
    said = json.loads(text(events(apps.DEMO_CHAT, "c [[prompt]]", "1.16.0", **fields)))
    assert said[:2] == [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert said[2]["content"] == "c [[prompt]]"
    assert said[2]["inputs"] == {"name": "Bob"}
    assert said[2]["files"][0]["url"] == "http://x"


@pytest.mark.parametrize("directive", ["stall=2", "mute=2", "drop=2", "rst=2", "eof=2"])
def test_faults_come_after_so_many_tokens(directive: str) -> None:
    steps = list(producer(apps.DEMO_CHAT, f"[[n=5 {directive}]]").steps())
    position = next(index for index, step in enumerate(steps) if isinstance(step, Silence | Break))
    assert sum(step.tokens for step in steps[:position] if isinstance(step, Send)) == 2


def test_a_fault_beyond_the_last_token_comes_at_the_end() -> None:
    steps = list(producer(apps.DEMO_CHAT, "[[n=2 drop=9]]").steps())
    assert Break("drop") in steps
    assert "message_end" not in [step.event["event"] for step in steps[: steps.index(Break("drop"))]]


def test_an_agent_calls_a_tool_first() -> None:
    sequence = events(apps.DEMO_AGENT, "[[tool=pretext n=2]]")
    assert text(sequence) == "Let me look that up.w1 w2 "
    thoughts = [event for event in sequence if event["event"] == "agent_thought"]
    assert [thought["position"] for thought in thoughts] == [1, 1, 1, 2, 2]
    assert thoughts[0]["tool"] == ""
    assert json.loads(thoughts[2]["observation"])["current_time"]


def test_thoughts_of_a_named_new_conversation_are_already_final() -> None:
    sequence = events(apps.DEMO_AGENT, "[[tool n=2]]", auto_generate_name=True)
    thoughts = [event for event in sequence if event["event"] == "agent_thought"]
    assert thoughts[0]["observation"]
    assert thoughts[-2]["thought"] == "w1 w2 "


def test_the_new_agent_repeats_its_answer_in_one_message() -> None:
    sequence = events(apps.DEMO_NEW_AGENT, "[[n=3]]", "1.16.0")
    assert [event["answer"] for event in sequence if event["event"] == "message"] == ["w1 w2 w3 "]
    assert names(sequence)[-2:] == ["message", "message_end"]


@pytest.mark.parametrize(
    ("version", "ending"),
    [
        ("0.15.3", ["workflow_finished", "message_end"]),
        ("1.12.1", ["workflow_finished", "message_end"]),
        ("1.16.0", ["message_end", "workflow_finished"]),
    ],
)
def test_a_chatflow_ends_twice_in_the_order_of_its_release(version: str, ending: list[str]) -> None:
    assert names(events(apps.DEMO_CHATFLOW, "[[n=1]]", version))[-2:] == ending


def test_flows_of_1_16_open_with_a_ping_and_say_why_they_started() -> None:
    steps = list(producer(apps.DEMO_WORKFLOW, "[[n=1]]", "1.16.0").steps())
    assert isinstance(steps[0], SendPing)
    assert isinstance(steps[1], Send)
    assert steps[1].event["data"]["reason"] == "initial"


def test_reasoning_has_its_own_events_only_in_flows_of_1_16() -> None:
    assert "reasoning_chunk" in names(events(apps.DEMO_CHATFLOW, "[[reasoning n=1]]", "1.16.0"))
    assert text(events(apps.DEMO_CHATFLOW, "[[reasoning n=1]]", "1.12.1")).startswith("<think>")
    assert text(events(apps.DEMO_CHATFLOW, "[[reasoning n=1]]", "0.15.3")).startswith("<details")


def test_split_thinking_cuts_the_tags() -> None:
    sequence = events(apps.DEMO_CHAT, "[[think=split n=1]]")
    assert text(sequence) == "<think>hmm let me think</think>\n\nw1 "
    assert not any("<think>" in event.get("answer", "") for event in sequence)


def test_a_retried_node_garbles_the_text_but_not_the_outputs() -> None:
    sequence = events(apps.DEMO_CHATFLOW, "[[n=3 retry]]")
    assert text(sequence) == "w1 w2 w3 " * 3 + "DEFAULT TEXT"
    assert [event["event"] for event in sequence].count("node_retry") == 2
    finished = next(event for event in sequence if event["event"] == "workflow_finished")
    assert (finished["data"]["status"], finished["data"]["outputs"]["answer"]) == ("partial-succeeded", "DEFAULT TEXT")


def test_a_pause_asks_a_human_and_goes_on_when_answered() -> None:
    told = names(events(apps.DEMO_WORKFLOW, "[[n=1 paused]]", "1.16.0"))
    asked = told.index("human_input_required")
    assert told[asked + 1 : asked + 4] == ["workflow_paused", "human_input_form_filled", "text_chunk"]
    assert told[-1] == "workflow_finished"


def test_speech_goes_on_after_the_terminal_event() -> None:
    assert names(events(apps.DEMO_CHAT, "[[n=6 tts]]"))[-3:] == ["message_end", "tts_message", "tts_message_end"]


def test_replacement_usage_and_unknown_events() -> None:
    sequence = events(apps.DEMO_CHAT, '[[n=3 replace="no" usage=none unknown]]')
    assert names(sequence)[-2:] == ["message_replace", "message_end"]
    assert "usage" not in sequence[-1]["metadata"]
    assert "weather_report" in names(sequence)


def test_an_agents_total_is_zero_in_the_old_release_only() -> None:
    old, new = (events(apps.DEMO_AGENT, "[[n=3]]", version)[-1] for version in ("0.15.3", "1.12.1"))
    assert old["metadata"]["usage"]["total_tokens"] == 0
    assert old["metadata"]["usage"]["completion_tokens"] == 3
    assert new["metadata"]["usage"]["total_tokens"] > 3


@pytest.mark.parametrize(
    ("app", "status"), [(apps.DEMO_CHATFLOW, "stopped"), (apps.DEMO_WORKFLOW, "stopped"), (apps.DEMO_CHAT, None)]
)
def test_a_stopped_run_says_so_only_in_flows(app: App, status: str | None) -> None:
    sequence = events(app, "[[n=2 stopped]]")
    finished = [event["data"] for event in sequence if event["event"] == "workflow_finished"]
    assert [data["status"] for data in finished] == ([status] if status else [])
    assert app.mode == "workflow" or sequence[-1]["event"] == "message_end"


def test_words_lose_nothing() -> None:
    assert "".join(words("  a  b\nc ")) == "  a  b\nc "


def test_keys_look_like_difys() -> None:
    assert all(len(app.key) == 28 and app.key.startswith("app-") and app.key[4:].isalnum() for app in ALL_APPS)
    assert len({app.key for app in ALL_APPS}) == len(ALL_APPS)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_release_has_an_app_of_each_of_its_modes(version: str) -> None:
    profile = VERSIONS[version]
    listed = {app.mode for app in apps_of(profile) if app.in_demo}
    assert listed == profile.modes
