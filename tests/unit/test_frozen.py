from __future__ import annotations

from dataclasses import field, replace
from pathlib import Path

import pytest
from mypy import api

from gateway.frozen import frozen


@frozen
class Point:
    x: int
    y: int = 0
    name: str = field(default="", repr=False, compare=False)


def test_a_value_is_its_fields() -> None:
    assert Point(1, name="a") == Point(1, 0, "b")
    assert hash(Point(1)) == hash(Point(1, 0))
    assert replace(Point(1), y=2) == Point(1, 2)
    assert repr(Point(1, name="a")) == "Point(x=1, y=0)"


def test_a_value_has_nothing_but_its_fields() -> None:
    with pytest.raises(AttributeError):
        Point(1).z = 2  # type: ignore[attr-defined]


def test_the_type_checker_refuses_to_change_a_value(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from gateway.frozen import frozen\n@frozen\nclass Point:\n    x: int\nPoint(1).x = 2\nPoint('1')\n"
    )
    found, _, _ = api.run([str(program)])
    assert [line.partition(" error: ")[2] for line in found.splitlines()[:2]] == [
        'Property "x" defined in "Point" is read-only  [misc]',
        'Argument 1 to "Point" has incompatible type "str"; expected "int"  [arg-type]',
    ]
