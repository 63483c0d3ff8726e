"""Bytes as characters that nobody sees: written behind an answer, found again in a client's history, removed.

The symbols are the fourteen variation selectors U+FE00..U+FE0D (3.8 bits each), after one U+2060 WORD JOINER. Tried on
Python's str methods and normal forms, node's, DOM round trips, DOMPurify, four Markdown renderers and wcwidth:

    candidates                    trim  NFKC  filters of "zero-width" characters in use                  width
    U+FE00..FE0D                  kept  kept  kept by [200B-200D FEFF], [.. 2060-206F], \\p{Cf}            0
    U+FE0E, FE0F                  kept  kept  FE0F is dropped alone by emoji code; both change emoji      0
    U+2060..2064, 206A..206F      kept  kept  dropped by the wider filters; 206A.. can change digits      0
    U+200B..200D, FEFF, 180E      cut   kept  dropped by all of them (FEFF alone by JavaScript's trim)    0
    tags E00xx, selectors E01xx   kept  kept  not in the BMP: two UTF-16 units, and MySQL's utf8 has none 0
    Hangul fillers, U+2800        kept  lost  letters and symbols: some are shown                         0..2

A filter for [FE00-FE0F] or for everything invisible takes the whole run, so nobody ever gets a wrong half. Fourteen
selectors are one grapheme, so a caret passes the run in one step where format characters need a step each. The word
joiner keeps them from the last visible character and the line from breaking there; it means nothing, and a run is read
without it. Joiners and direction marks are left alone: they change what is seen.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import replace

from gateway.exchange.memory import legacy_token
from gateway.exchange.turn import Message

SHIELD = "\u2060"
SYMBOLS = "".join(map(chr, range(0xFE00, 0xFE0E)))
LONGEST_BYTES = 160  # a hostile run of a megabyte must not become one huge number

_BASE = len(SYMBOLS)
_DIGITS = "0123456789abcd"  # what int() reads in base 14
_TO_DIGITS = str.maketrans(SYMBOLS, _DIGITS)
_THREE, _SIX = _BASE**3, _BASE**6  # _SIX is less than 2**30, by which a long integer is divided quickly
_TRIPLES = [high + mid + low for high in SYMBOLS for mid in SYMBOLS for low in SYMBOLS]


def _width(size: int) -> int:
    """Symbols for so many bytes; a byte needs 2.1 of them, so no two sizes share a width."""
    return math.ceil(size * 8 / math.log2(_BASE))


_WIDTHS = {size: _width(size) for size in range(1, LONGEST_BYTES + 1)}
_SIZES = {width: size for size, width in _WIDTHS.items()}

_RUN = re.compile(f"[{SYMBOLS}]{{2,}}")

# No writing system puts two variation selectors, or eight of all these characters, in a row.
_SUSPECT = re.compile(f"[{SYMBOLS}{legacy_token.ALPHABET}]")  # begins all of these; five times as quick
_HIDDEN = re.compile(f"[{SYMBOLS}{legacy_token.ALPHABET}]{{8,}}|{SHIELD}[{SYMBOLS}]+|[{SYMBOLS}]{{2,}}")

# A last line that Markdown reads as more than text: a fence, a rule or heading underline, a formula's end, a closed
# heading, a link definition; in quotes and lists, too. What is before them is taken for good (`*+`): a rule looks like
# a list of lists, and going back through a long one would take a time that grows with its square.
_BLOCK = re.compile(
    r"(?:[ \t>]|[-*+][ \t]|\d+[.)][ \t])*+"
    r"(?:`{3,}|~{3,}|[-*_=](?:[ \t]*[-*_=])*|\$\$|\\\]|#{1,6}[ \t].*#|\[[^\]]+\]:.*)[ \t]*"
)


def hide(data: bytes) -> str:
    """One string to append, in one delta. Raises ValueError for no bytes and for more than LONGEST_BYTES."""
    if not 0 < len(data) <= LONGEST_BYTES:
        raise ValueError(f"cannot hide {len(data)} bytes")
    rest = int.from_bytes(data, "big")
    width = _WIDTHS[len(data)]
    triples = []
    for _ in range((width + 5) // 6):
        rest, six = divmod(rest, _SIX)
        triples.append(_TRIPLES[six % _THREE])
        triples.append(_TRIPLES[six // _THREE])
    triples.reverse()
    return SHIELD + "".join(triples)[-width:]


def reveal(text: str) -> list[bytes]:
    """All that is hidden anywhere in the text, in order; nothing for a run that `hide` cannot have written."""
    if text.isascii():
        return []
    return [data for run in _RUN.findall(text) if (data := _read(run)) is not None]


def strip(text: str) -> str:
    """The text without hidden runs, whole or broken, of this gateway and of OpenDify.

    Removed: runs of two or more of SYMBOLS, of one or more behind a word joiner, and of eight or more of SYMBOLS and
    OpenDify's eight characters in any mixture. Everything else stays: the joiners in emoji and Persian, the selectors
    of emoji (U+FE0E, U+FE0F), a single selector behind its character, a byte order mark.
    """
    if text.isascii() or (first := _SUSPECT.search(text)) is None:
        return text
    begin = first.start()
    return text[:begin] + _HIDDEN.sub("", text[begin:])


def visible(messages: Iterable[Message]) -> tuple[Message, ...]:
    """The messages without anything hidden: what Dify may see."""
    return tuple([_visible(message) for message in messages])


def gap(tail: str) -> str:
    """What goes between an answer and a hidden run, so that the answer still looks the same.

    To Markdown a symbol is a letter: it would join a link at the end, undo closing `**` or `_` behind punctuation, and
    keep a code fence open. A space helps, or a new line behind a line that means a block; a table's row must not get
    one, it would become a row; where the answer has given it one, an empty line does. `tail`: the end of the answer, at
    least its last two lines.
    """
    before, _, line = tail.rpartition("\n")
    if line and _BLOCK.fullmatch(line):
        return "\n"
    if not line.strip() and "|" in before[before.rfind("\n") + 1 :]:
        return "\n"
    return "" if not tail or tail[-1].isspace() else " "


def _visible(message: Message) -> Message:
    if message.text.isascii() and message.words is None:
        return message
    text, words = strip(message.text), None if message.words is None else strip(message.words)
    return message if (text, words) == (message.text, message.words) else replace(message, text=text, words=words)


def _read(run: str) -> bytes | None:
    size = _SIZES.get(len(run))
    if size is None:
        return None
    number = int(run.translate(_TO_DIGITS), _BASE)
    return number.to_bytes(size, "big") if number < 256**size else None
