"""What waits together is sent together, and says the same."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.exchange.answer import AnswerEvent, Finished, ReasoningDelta, Started, TextDelta, Usage, coalesced

EVENTS = st.lists(
    st.one_of(st.builds(TextDelta, st.text(min_size=1)), st.builds(ReasoningDelta, st.text(min_size=1))), max_size=12
)


def test_texts_side_by_side_become_one() -> None:
    batch: list[AnswerEvent] = [Started("t"), TextDelta("a"), TextDelta("b"), ReasoningDelta("r"), TextDelta("c")]
    assert coalesced([*batch, Finished()]) == [
        Started("t"),
        TextDelta("ab"),
        ReasoningDelta("r"),
        TextDelta("c"),
        Finished(),
    ]


@given(EVENTS)
def test_nothing_is_lost_and_nothing_changes_places(events: list[AnswerEvent]) -> None:
    made = coalesced(events)

    def said(of: list[AnswerEvent], kind: type) -> str:
        return "".join(event.text for event in of if isinstance(event, kind))  # type: ignore[attr-defined]

    assert said(made, TextDelta) == said(events, TextDelta)
    assert [event for event in made if isinstance(event, ReasoningDelta)] == [
        event for event in events if isinstance(event, ReasoningDelta)
    ]
    assert not any(isinstance(one, TextDelta) and isinstance(other, TextDelta) for one, other in pairwise(made))


def test_what_two_runs_took_is_added_up() -> None:
    assert Usage(1, 2, 3).plus(Usage(10, 20, 30)) == Usage(11, 22, 33)
    one, other = Usage(1, 2, 3, 4, 5, "0.0000150", "USD"), Usage(10, 20, 30, 40, 50, "0.10", "USD")
    assert one.plus(other) == Usage(11, 22, 33, 44, 55, "0.1000150", "USD")


def test_what_is_unknown_of_one_run_is_unknown_of_both() -> None:
    known = Usage(1, 2, 3, 4, 5, "0.1", "USD")
    assert known.plus(Usage(1, 1, 1)) == Usage(2, 3, 4)
    assert known.plus(Usage(1, 1, 1, price="0.1", currency="EUR")).price is None
