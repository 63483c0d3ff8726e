"""How values are declared: frozen to the type checker, and as quick to make as if they were not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """A dataclass that nobody changes: mypy refuses to assign to a field, so nothing has to watch over it at run time.

    `dataclass(frozen=True)` does, and has to set each field by way of `object.__setattr__`: four times the price of
    making a value, of which every event of an answer is one.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
