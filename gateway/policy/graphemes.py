"""Where text may be cut: between grapheme clusters, which a reader takes for single characters (UAX #29)."""

from __future__ import annotations

import regex  # type: ignore[import-untyped]  # ships no types

_CLUSTER = regex.compile(r"\X")
# Between two such code points there is always a boundary, whatever else stands around them (GB999).
_PLAIN_PAIR = regex.compile(r"\p{GCB=Other}(?=\p{GCB=Other})")
_FAR = 64  # code points: further than this a plain pair is looked for first, so that a cut costs the same anywhere


def cut(text: str, start: int, size: int) -> int:
    """A boundary at or soon after `size` code points from `start`, which is a boundary itself."""
    end = start + size
    if end >= len(text):
        return len(text)
    if _PLAIN_PAIR.match(text, end - 1):
        return end
    if size > _FAR and (pair := _PLAIN_PAIR.search(text, end - 1, end + _FAR)):
        return int(pair.end())
    return _walk(text, start, end)


def last_cluster(text: str, start: int) -> int:
    """Where the last cluster begins; `start` is a boundary before the end of the text."""
    pair = _PLAIN_PAIR.search(text, max(start, len(text) - _FAR))
    position = pair.end() if pair else start
    while (end := _walk(text, position, position + 1)) < len(text):
        position = end
    return int(position)


def may_grow(text: str) -> bool:
    """Can more text join the last cluster? Yes for nearly all, but nobody writes marks above spaces and full stops."""
    last = text[-1]
    return last.isalnum() if last.isascii() else True


def _walk(text: str, position: int, end: int) -> int:
    """The first boundary at or after `end`, cluster by cluster."""
    while position < end:
        position = _CLUSTER.match(text, position).end()
    return position
