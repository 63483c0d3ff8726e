"""Work that waits for the end of a lot, and work that does not."""

from __future__ import annotations

import pytest

from gateway.lot import Lot


def test_what_is_put_off_is_done_in_order_when_the_lot_is_over() -> None:
    lot, done = Lot(), []
    for _ in range(2):
        with lot:
            for number in range(3):
                assert lot.puts_off(lambda number=number: done.append(number))  # type: ignore[misc]
            assert done == []
        assert done == [0, 1, 2]
        done.clear()


def test_where_nothing_else_comes_nothing_is_put_off() -> None:
    lot, done = Lot(), []
    assert not lot.puts_off(lambda: done.append("before"))
    with lot:
        lot.puts_off(lambda: done.append(lot.puts_off(lambda: done.append("within"))))
    assert not lot.puts_off(lambda: done.append("after"))
    assert done == [False]  # what is done at the end puts nothing off


def test_a_fault_in_the_lot_does_not_hold_back_what_was_put_off() -> None:
    lot, done = Lot(), []

    def fail() -> None:
        with lot:
            lot.puts_off(lambda: done.append(1))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert done == [1]


def test_a_fault_in_what_was_put_off_does_not_hold_back_the_rest() -> None:
    lot, done = Lot(), []

    def fail() -> None:
        with lot:
            lot.puts_off(lambda: done.append(1))
            lot.puts_off(lambda: {}["absent"])
            lot.puts_off(lambda: done.append(2))

    with pytest.raises(KeyError, match="absent"):
        fail()
    assert done == [1, 2]
