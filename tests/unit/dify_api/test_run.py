"""How an answer ends, from what its run has said."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.dify_api.app import AppMode
from gateway.dify_api.run import Run
from gateway.errors import UpstreamTruncated
from gateway.exchange.answer import AnswerEvent, Failed, Finished, FinishReason, TextDelta


def ended(run: Run, *terminals: str) -> list[AnswerEvent]:
    return [event for terminal in terminals for event in run.end(terminal)]


def a_run(mode: AppMode, *texts: str, output_variable: str | None = None, **state: Any) -> Run:
    """A run that has said these texts, and is in this state since."""
    run = Run(mode, output_variable)
    for text in texts:
        run.add_text(text)
    for name, value in state.items():
        setattr(run, name, value)
    return run


def test_half_a_character_before_a_gap_is_completed_by_the_settled_text() -> None:
    said = ["Hi ", "\ud83d"]  # the other half of 🙂 was lost with the connection
    run = a_run(AppMode.WORKFLOW, *said, is_flow=True, text_lost=True, outputs={"text": "Hi 🙂 there"})
    assert ended(run, "workflow_finished") == [TextDelta("🙂 there"), Finished()]


@pytest.mark.parametrize("order", [("message_end", "workflow_finished"), ("workflow_finished", "message_end")])
def test_a_chatflow_waits_for_both_of_its_ends(order: tuple[str, str]) -> None:
    run = a_run(AppMode.ADVANCED_CHAT, "Hi", is_flow=True)
    assert run.end(order[0]) == []
    assert run.end(order[1]) == [Finished()]


@pytest.mark.parametrize("mode", [AppMode.CHAT, AppMode.AGENT_CHAT, AppMode.AGENT, AppMode.COMPLETION])
def test_other_apps_have_one_end(mode: AppMode) -> None:
    assert ended(a_run(mode, "Hi"), "message_end") == [Finished()]


def test_a_chatflow_that_was_answered_without_a_run_has_one_end() -> None:
    assert ended(a_run(AppMode.ADVANCED_CHAT, "Preset"), "message_end") == [Finished()]


@pytest.mark.parametrize(
    ("streamed", "outputs", "end"),
    [
        (["w1 w2 "], {"text": "w1 w2 "}, [Finished()]),
        (["w1 w2 "], {"text": "w1 w2"}, [Finished()]),
        (["w1 w2"], {"text": "w1 w2", "count": 3}, [TextDelta("\n3"), Finished()]),
        ([], {"text": "quiet"}, [TextDelta("quiet"), Finished()]),
        (["w1 w1 w2"], {"text": "w1 w2"}, [Finished(text="w1 w2")]),
        (["- a\n- b"], {"list": ["a", "b"]}, [Finished()]),
        (["text"], {}, [Finished()]),
    ],
)
def test_a_workflow_settles_on_its_outputs(
    streamed: list[str], outputs: dict[str, Any], end: list[AnswerEvent]
) -> None:
    assert ended(a_run(AppMode.WORKFLOW, *streamed, outputs=outputs), "workflow_finished") == end


def test_the_operator_chooses_the_output() -> None:
    run = a_run(AppMode.WORKFLOW, output_variable="b", outputs={"a": "no", "b": "yes"})
    assert ended(run, "workflow_finished") == [TextDelta("yes"), Finished()]


def test_an_output_that_is_not_there_is_named() -> None:
    (event,) = ended(a_run(AppMode.WORKFLOW, output_variable="c", outputs={"a": 1}), "workflow_finished")
    assert isinstance(event, Failed)
    assert "'c'" in event.error.message
    assert "'a'" in event.error.message


def test_a_retry_makes_the_recorded_answer_better_than_the_stream() -> None:
    run = a_run(AppMode.ADVANCED_CHAT, "w1 w1 w2", is_flow=True, retried=True, outputs={"answer": "w1 w2"})
    assert ended(run, "workflow_finished", "message_end") == [Finished(text="w1 w2")]


def test_a_text_that_the_stream_goes_beyond_is_not_better() -> None:
    run = a_run(AppMode.ADVANCED_CHAT, "A: w1 w2 ", is_flow=True, retried=True, outputs={"answer": "A:"})
    assert ended(run, "workflow_finished", "message_end") == [Finished()]


# --- a gap in the stream ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [AppMode.WORKFLOW, AppMode.ADVANCED_CHAT])
@pytest.mark.parametrize(
    ("said", "settled", "rest"),
    [
        ("w1 ", "w1 w2 w3", [TextDelta("w2 w3")]),
        ("", "w1 w2 w3", [TextDelta("w1 w2 w3")]),
        ("w1 w2", "w1 w2", []),
        ("w1 w2 ", "w1 w2", []),
    ],
)
def test_after_a_gap_the_settled_text_tells_the_rest(
    mode: AppMode, said: str, settled: str, rest: list[AnswerEvent]
) -> None:
    name = "answer" if mode is AppMode.ADVANCED_CHAT else "text"
    run = a_run(mode, said, is_flow=True, text_lost=True, outputs={name: settled})
    assert run.add_text("w3") == []
    ends = ["workflow_finished", "message_end"] if mode is AppMode.ADVANCED_CHAT else ["workflow_finished"]
    assert ended(run, *ends) == [*rest, Finished()]


@pytest.mark.parametrize(
    ("mode", "outputs"),
    [
        (AppMode.WORKFLOW, {}),
        (AppMode.WORKFLOW, {"text": "x1 w2"}),
        (AppMode.ADVANCED_CHAT, {}),
        (AppMode.ADVANCED_CHAT, {"answer": "x1 w2"}),
        (AppMode.ADVANCED_CHAT, {"answer": "w"}),
    ],
)
def test_a_gap_that_nothing_fills_is_no_answer(mode: AppMode, outputs: dict[str, Any]) -> None:
    run = a_run(mode, "w1 ", is_flow=True, text_lost=True, outputs=outputs)
    (event,) = run.finish()
    assert isinstance(event, Failed)
    assert isinstance(event.error, UpstreamTruncated)


def test_what_the_operator_chose_is_whole_whatever_was_lost() -> None:
    run = a_run(AppMode.WORKFLOW, output_variable="b", text_lost=True, outputs={"a": "no", "b": "yes"})
    assert ended(run, "workflow_finished") == [TextDelta("yes"), Finished()]


# --- how it ended -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "reason"),
    [({}, FinishReason.STOP), ({"stopped": True}, FinishReason.LENGTH)],
)
def test_a_stopped_run_is_cut_short(state: dict[str, Any], reason: FinishReason) -> None:
    assert ended(a_run(AppMode.CHAT, "Hi", **state), "message_end") == [Finished(reason=reason)]


def test_the_model_that_spoke_last_tells_whether_its_limit_was_reached() -> None:
    run = a_run(AppMode.WORKFLOW)
    run.note_finish_reason("first", "length")
    run.note_finish_reason("second", "stop")
    run.add_text("Hi", ["first", "text"])
    assert ended(run, "workflow_finished") == [Finished(reason=FinishReason.LENGTH)]


def test_a_moderated_answer_is_replaced() -> None:
    run = a_run(AppMode.CHAT, "Something bad")
    assert run.replace_text("No.", moderated=True) == []
    assert ended(run, "message_end") == [Finished(reason=FinishReason.CONTENT_FILTER, text="No.")]
