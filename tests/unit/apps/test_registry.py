from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.apps.registry import AppRegistry
from gateway.dify_api.app import AppKey, AppMode
from gateway.dify_api.description import AppDescription
from gateway.errors import GatewayError, ModelNotFound, NotReady, UpstreamKeyRejected, UpstreamUnreachable
from gateway.exchange.model import InputField, Model

BASE = "http://dify/v1"
ONE, TWO, THREE = (AppKey(f"app-{name}", BASE) for name in ("one", "two", "three"))
DOWN = UpstreamUnreachable("No connection to Dify.")


def chat(name: str, mode: AppMode | None = AppMode.CHAT) -> AppDescription:
    return AppDescription(name, mode=mode)


def handle(name: str, key: AppKey) -> str:
    return f"{name}-{hashlib.sha256(f'{key.key} {key.base_url}'.encode()).hexdigest()[:6]}"


def registry(*refreshes: list[tuple[AppKey, AppDescription | GatewayError]]) -> AppRegistry:
    built = AppRegistry()
    for now, results in enumerate(refreshes, start=1000):
        built.update(results, float(now))
    return built


def ids(built: AppRegistry) -> dict[str, AppKey]:
    return {model_id: app.key for model_id, app in built.snapshot.models.items()}


# --- the plain case ------------------------------------------------------------------------------------------------


def test_an_app_answers_under_its_name() -> None:
    fields = (InputField("a", "number"),)
    built = registry([(ONE, AppDescription("Helpdesk", "Answers", AppMode.WORKFLOW, fields))])
    app = built.find("Helpdesk")
    assert (app.key, app.model_id, app.mode, app.inputs) == (ONE, "Helpdesk", AppMode.WORKFLOW, fields)
    assert built.snapshot.listing == (Model("Helpdesk", 1000, "Helpdesk", "workflow", "Answers", fields),)


def test_the_order_is_the_configured_one() -> None:
    built = registry([(TWO, chat("b")), (ONE, chat("a")), (THREE, chat("c"))])
    assert list(ids(built)) == ["b", "a", "c"] == [model.id for model in built.snapshot.listing]


def test_a_key_configured_twice_counts_once() -> None:
    built = registry([(ONE, chat("a")), (replace(ONE, query_variable="x"), DOWN)])
    assert ids(built) == {"a": ONE}
    assert [state.key for state in built.states] == [ONE]
    other_dify = replace(ONE, base_url="http://other/v1")
    assert len(ids(registry([(ONE, chat("a")), (other_dify, chat("b"))]))) == 2


def test_a_configured_mode_wins_over_the_described_one() -> None:
    assert registry([(replace(ONE, mode=AppMode.AGENT_CHAT), chat("a"))]).find("a").mode is AppMode.AGENT_CHAT
    assert registry([(replace(ONE, mode=AppMode.WORKFLOW), chat("a", None))]).find("a").mode is AppMode.WORKFLOW


def test_an_app_whose_mode_nobody_tells_is_an_error_that_says_what_to_do() -> None:
    built = registry([(ONE, chat("a", None))])
    assert built.snapshot.find("a") is None
    assert "?mode=" in (built.states[0].error or "")


# --- not found, not ready ------------------------------------------------------------------------------------------


def test_nothing_is_ready_before_the_first_app() -> None:
    built = registry()
    assert not built.ready
    with pytest.raises(NotReady):
        built.find("a")
    built.update([(ONE, DOWN)], 1.0)
    assert not built.ready
    with pytest.raises(NotReady):
        built.find("a")
    built.update([(ONE, chat("a"))], 2.0)
    assert built.ready


def test_once_ready_always_ready() -> None:
    built = registry([(ONE, chat("a"))], [])
    assert built.ready
    with pytest.raises(ModelNotFound, match=r"'a' does not exist\.$"):
        built.find("a")


def test_an_unknown_model_lists_the_known_ones_when_they_are_few() -> None:
    with pytest.raises(ModelNotFound, match=r"'A' does not exist. Available models: a, b\.") as caught:
        registry([(ONE, chat("a")), (TWO, chat("b"))]).find("A")
    assert caught.value.param == "model"
    many = registry([(AppKey(f"app-{n}", BASE), chat(f"app {n}")) for n in range(21)])
    with pytest.raises(ModelNotFound, match=r"^The model 'x' does not exist\.$"):
        many.find("x")


# --- one name, several apps ----------------------------------------------------------------------------------------


def test_apps_of_one_name_get_ids_that_depend_on_their_keys() -> None:
    built = registry([(ONE, chat("bot")), (TWO, chat("bot")), (THREE, chat("bot"))])
    assert ids(built) == {"bot": ONE, handle("bot", TWO): TWO, handle("bot", THREE): THREE}
    assert built.find(handle("bot", TWO)).name == "bot"


def test_ids_do_not_depend_on_who_answered_first() -> None:
    keys = (ONE, TWO, THREE)
    seen = []
    for order in permutations(keys):
        built = AppRegistry()
        for count in range(4):  # the keys come up one after the other, in this order
            up = order[:count]
            built.update([(key, chat("bot") if key in up else DOWN) for key in keys], 1.0)
        seen.append(ids(built))
    assert seen == [seen[0]] * 6
    assert list(seen[0]) == ["bot", handle("bot", TWO), handle("bot", THREE)]


def test_the_suffixed_id_works_whoever_is_up() -> None:
    firsts: list[AppDescription | GatewayError] = [chat("bot"), DOWN]
    for first in firsts:
        built = registry([(ONE, first), (TWO, chat("bot"))])
        assert built.find(handle("bot", TWO)).key == TWO
        built.update([(ONE, chat("bot")), (TWO, chat("bot"))], 2.0)
        assert built.find(handle("bot", TWO)).key == TWO
        assert built.find(handle("bot", ONE)).key == ONE
        assert built.find("bot").key == ONE


def test_an_app_that_fails_later_keeps_its_name() -> None:
    built = registry([(ONE, chat("bot")), (TWO, chat("bot"))], [(ONE, DOWN), (TWO, chat("bot"))])
    assert ids(built) == {"bot": ONE, handle("bot", TWO): TWO}


def test_no_suffixed_id_takes_another_apps_name() -> None:
    taken = handle("bot", TWO)
    built = registry([(ONE, chat("bot")), (TWO, chat("bot")), (THREE, chat(taken))])
    assert built.find(taken).key == THREE
    assert len(ids(built)) == 3
    longer = next(model_id for model_id, key in ids(built).items() if key == TWO)
    assert longer.startswith(taken)


# --- over time -----------------------------------------------------------------------------------------------------


def test_a_renamed_app_answers_under_its_old_ids_too() -> None:
    built = registry([(ONE, chat("a"))], [(ONE, chat("b"))], [(ONE, chat("c"))])
    assert list(ids(built)) == ["c"]
    assert {built.find(model_id).model_id for model_id in ("a", "b", "c", handle("a", ONE))} == {"c"}
    assert [model.id for model in built.snapshot.listing] == ["c"]


def test_an_old_id_never_shadows_a_real_one() -> None:
    built = registry([(ONE, chat("a"))], [(ONE, chat("b")), (TWO, chat("a"))])
    assert built.find("a").key == TWO
    built.update([(ONE, chat("b")), (TWO, chat("c"))], 3.0)
    assert built.find("a").key == TWO  # had it last


def test_a_failing_key_keeps_its_last_good_app() -> None:
    built = registry([(ONE, chat("a"))], [(ONE, DOWN)])
    assert built.find("a").key == ONE
    assert built.states[0].error == "No connection to Dify."
    assert built.ready


def test_a_removed_key_disappears_with_all_its_ids() -> None:
    built = registry([(ONE, chat("a")), (TWO, chat("z"))], [(ONE, chat("b")), (TWO, chat("z"))], [(TWO, chat("z"))])
    assert ids(built) == {"z": TWO}
    assert [state.key for state in built.states] == [TWO]
    for gone in ("a", "b", handle("b", ONE)):
        assert built.snapshot.find(gone) is None


def test_a_failing_keys_new_options_count_at_once() -> None:
    changed = replace(ONE, query_variable="text", mode=AppMode.COMPLETION)
    built = registry([(ONE, chat("a"))], [(changed, DOWN)])
    assert (built.find("a").key.query_variable, built.find("a").mode) == ("text", AppMode.COMPLETION)


def test_a_mode_taken_out_of_the_configuration_again_hides_the_app() -> None:
    built = registry([(replace(ONE, mode=AppMode.CHAT), chat("a", None))], [(ONE, chat("a", None))])
    assert ids(built) == {}
    assert built.states[0].app is None


def test_created_is_the_time_of_first_sight() -> None:
    built = registry([(ONE, DOWN)], [(ONE, chat("a"))], [(ONE, DOWN)], [(ONE, chat("b"))])
    assert built.find("b").created == 1001


def test_states_tell_since_when_a_key_is_well_or_not() -> None:
    built = AppRegistry()
    seen = []
    results: list[AppDescription | GatewayError] = [DOWN, DOWN, chat("a"), chat("a"), DOWN, DOWN]
    for now, result in enumerate(results, start=1):
        built.update([(ONE, result)], float(now))
        state = built.states[0]
        seen.append((state.error is None, state.since, state.refreshed, state.app is not None))
    assert seen == [
        (False, 1.0, None, False),
        (False, 1.0, None, False),
        (True, 3.0, 3.0, True),
        (True, 3.0, 4.0, True),
        (False, 5.0, 4.0, True),
        (False, 5.0, 4.0, True),
    ]


def test_a_key_that_is_well_from_the_start_is_so_since_then() -> None:
    assert registry([(ONE, chat("a"))]).states[0].since == 1000.0


def test_an_errors_text_is_one_line_without_the_key() -> None:
    error = UpstreamKeyRejected(f"refused:\n key {ONE.key}\n" + "x" * 5000)
    text = registry([(ONE, error)]).states[0].error or ""
    assert text.startswith("refused: key …-one x")
    assert ONE.key not in text
    assert len(text) <= 300


def test_a_snapshot_in_use_does_not_change() -> None:
    built = registry([(ONE, chat("a"))])
    before = built.snapshot
    built.update([(TWO, chat("b"))], 2.0)
    assert (list(before.models), list(built.snapshot.models)) == (["a"], ["b"])


KEYS = st.sampled_from([ONE, TWO, THREE, replace(TWO, base_url="http://other/v1")])
RESULTS = st.sampled_from([DOWN, chat("a"), chat("b"), chat(handle("a", TWO)), chat("a", None)])
REFRESHES = st.lists(st.lists(st.tuples(KEYS, RESULTS), max_size=5), max_size=5)


@given(REFRESHES)
def test_every_app_that_is_known_has_an_id_of_its_own(
    refreshes: list[list[tuple[AppKey, AppDescription | GatewayError]]],
) -> None:
    built = registry(*refreshes)
    apps = [state.app for state in built.states if state.app]
    assert list(built.snapshot.models.values()) == apps
    assert [model.id for model in built.snapshot.listing] == [app.model_id for app in apps]
    assert all(built.find(app.model_id) is app for app in apps)
    assert not built.snapshot.models.keys() & built.snapshot.aliases.keys()
    assert all(any(alias is app for app in apps) for alias in built.snapshot.aliases.values())
