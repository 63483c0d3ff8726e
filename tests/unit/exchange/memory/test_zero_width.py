from __future__ import annotations

import functools
import html
import json
import random
import re
import shutil
import subprocess
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.exchange.memory import legacy_token
from gateway.exchange.memory.zero_width import LONGEST_BYTES, SHIELD, SYMBOLS, gap, hide, reveal, strip, visible
from gateway.exchange.turn import Message, Role

DATA = bytes(range(53))  # as long as a token with two UUIDs
RUN = hide(DATA)

# Text as chats have it, and the characters that a run could be mixed up with.
ODD = "a \n\u200b\u200c\u200d\u2060\u2061\ufeff\ufe00\ufe0d\ufe0e\ufe0f\u0301❤👩é你"
texts = st.text(st.sampled_from(ODD)) | st.text()


@given(st.binary(min_size=1, max_size=LONGEST_BYTES))
@example(bytes(53))
@example(b"\xff" * 53)
def test_what_is_hidden_is_revealed(data: bytes) -> None:
    assert reveal(hide(data)) == [data]


@given(st.binary(min_size=1, max_size=LONGEST_BYTES))
def test_a_run_is_the_bytes_as_one_number_to_the_base_14(data: bytes) -> None:
    digits = [SYMBOLS.index(symbol) for symbol in hide(data).removeprefix(SHIELD)]
    assert functools.reduce(lambda number, digit: 14 * number + digit, digits) == int.from_bytes(data, "big")
    assert 14 ** (len(digits) - 1) <= 256 ** len(data) <= 14 ** len(digits)


def test_two_uuids_cost_113_characters() -> None:
    assert len(RUN) == 113


@pytest.mark.parametrize("size", [0, LONGEST_BYTES + 1])
def test_too_little_and_too_much_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="cannot hide"):
        hide(bytes(size))


def test_all_runs_of_a_text_are_found_in_order() -> None:
    text = f"Hello{hide(b'one')} and{hide(b'two')}{hide(b'three')}\n> quoted"
    assert reveal(text) == [b"one", b"two", b"three"]


def test_a_run_is_found_without_its_shield() -> None:
    assert reveal("Hello" + RUN.removeprefix(SHIELD)) == [DATA]


def test_broken_runs_never_give_the_data() -> None:
    symbols = RUN.removeprefix(SHIELD)
    for at in range(len(symbols)):
        assert DATA not in reveal(symbols[:at])
        assert DATA not in reveal(symbols[at + 1 :])
        assert DATA not in reveal(symbols[:at] + symbols[at + 1 :])
        assert DATA not in reveal(symbols[:at] + "x" + symbols[at + 1 :])
        assert DATA not in reveal(symbols[:at] + symbols[at] + symbols[at:])
        for other in SYMBOLS:
            if other != symbols[at]:
                assert DATA not in reveal(symbols[:at] + other + symbols[at + 1 :])


def test_one_value_has_one_run() -> None:
    # 14 ** 3 is more than 256, so most runs of three stand for no byte.
    runs = [a + b + c for a in SYMBOLS for b in SYMBOLS for c in SYMBOLS]
    found = [data for run in runs for data in reveal(run)]
    assert sorted(found) == [bytes([value]) for value in range(256)]


def test_a_huge_run_is_passed_over() -> None:
    assert reveal(SYMBOLS * 100_000) == []
    assert strip("a" + SYMBOLS * 100_000) == "a"


# Survival ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_normal_forms_keep_a_run(form: str) -> None:
    text = "é ﬁ ①" + RUN + "é"
    assert reveal(unicodedata.normalize(form, text)) == [DATA]  # type: ignore[arg-type]


def test_python_strips_splits_and_joins_around_a_run() -> None:
    text = f"Hello {RUN}"
    assert text.strip() == text
    assert text.split()[-1] == RUN
    assert text.splitlines() == [text]
    assert text.casefold().endswith(RUN)


@pytest.mark.parametrize("ascii_only", [True, False])
def test_json_keeps_a_run(ascii_only: bool) -> None:
    assert json.loads(json.dumps("Hello" + RUN, ensure_ascii=ascii_only)) == "Hello" + RUN


def test_html_keeps_a_run() -> None:
    text = f"a < b{RUN}"
    assert html.unescape(html.escape(text)) == text
    references = "".join(f"&#x{ord(symbol):x};" for symbol in RUN)
    assert html.unescape(references) == RUN


@pytest.mark.parametrize(
    "dropped",
    [
        "[\u200b-\u200d\ufeff]",
        "[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]",
        "[\ufe0e\ufe0f]",
        "[\U00010000-\U0010ffff]",
    ],
    ids=["zero-width", "all-format-characters", "emoji-selectors", "above-the-bmp"],
)
def test_common_filters_keep_a_run(dropped: str) -> None:
    assert reveal(re.sub(dropped, "", f"Hello {RUN}")) == [DATA]


@pytest.mark.parametrize(
    "dropped", ["[\ufe00-\ufe0f]", "[^\x00-\uabff]", "[^\x20-\x7e]"], ids=["selectors", "high", "not-ascii"]
)
def test_other_filters_leave_nothing_that_looks_like_one(dropped: str) -> None:
    left = re.sub(dropped, "", f"Hello{RUN}")
    assert reveal(left) == []
    assert left.removesuffix(SHIELD) == "Hello"


NODE_CHECKS = """
const run = JSON.parse(process.argv[1]), text = 'Hello ' + run, failed = [];
const check = (name, got, wanted = text) => { if (got !== wanted) failed.push(name + ': ' + JSON.stringify(got)); };
check('trim', text.trim()); check('trimEnd', text.trimEnd());
check('white space', text.split(/\\s+/).pop(), run);
for (const form of ['NFC', 'NFD', 'NFKC', 'NFKD']) check(form, text.normalize(form));
check('JSON', JSON.parse(JSON.stringify(text)));
check('clone', structuredClone(text));
check('UTF-8', new TextDecoder().decode(new TextEncoder().encode(text)));
check('URI', decodeURIComponent(encodeURIComponent(text)));
check('zero-width filter', text.replace(/[\\u200B-\\u200D\\uFEFF]/g, ''));
check('format filter', text.replace(/\\p{Cf}/gu, ''), text.replace('\\u2060', ''));
check('ignorable filter', text.replace(/\\p{Default_Ignorable_Code_Point}/gu, ''), 'Hello ');
check('length', String(run.length), String([...run].length));
check('graphemes', String([...new Intl.Segmenter('en').segment(run)].length), '2');
console.log(JSON.stringify(failed));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_javascript_keeps_a_run() -> None:
    command = ["node", "-e", NODE_CHECKS, json.dumps(RUN)]
    printed = subprocess.run(command, capture_output=True, check=True, text=True, encoding="utf-8").stdout
    assert json.loads(printed) == []


# Stripping ---------------------------------------------------------------------------------------------------------


@given(texts, st.binary(min_size=1, max_size=60), texts)
def test_a_run_is_stripped_from_any_text(before: str, data: bytes, after: str) -> None:
    text = f"{before} {hide(data)} {after}"
    assert strip(text) == f"{strip(before)}  {strip(after)}"


@given(texts)
def test_only_hidden_characters_are_stripped(text: str) -> None:
    hidden = SYMBOLS + legacy_token.ALPHABET
    left = strip(text)
    assert [char for char in left if char not in hidden] == [char for char in text if char not in hidden]
    assert strip(left) == left
    assert reveal(left) == []


def test_broken_runs_are_stripped_whole() -> None:
    for at in range(2, len(RUN)):
        assert strip("Hello" + RUN[:at]) == "Hello"
    for at in range(1, len(RUN) - 1):
        assert strip("Hello" + RUN[at:]) == "Hello"
        assert strip("Hello" + RUN[:at] + RUN[at + 1 :]) == "Hello"


@pytest.mark.parametrize("run", [RUN[:9] + "\u200b" * 9 + RUN[9:], "\u200b" * 7 + RUN[1:] + "\u200b" * 7])
def test_runs_in_each_other_are_stripped_at_once(run: str) -> None:
    # Taking out the inner run first would leave an outer one behind.
    assert strip(f"Hello{run}!") == "Hello!"


def test_runs_of_opendify_are_stripped_also_behind_a_filter() -> None:
    legacy = "".join(legacy_token.ALPHABET[digit] for digit in random.Random(1).choices(range(8), k=96))
    assert strip(f"Hello{legacy}!") == "Hello!"
    assert strip("Hello" + re.sub("[\u200b-\u200d\ufeff]", "", legacy)) == "Hello"


@pytest.mark.parametrize(
    "text",
    [
        "👩‍👩‍👧‍👦 👩🏽‍💻 ❤️‍🔥 ❤︎ 1️⃣ 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
        "می‌خواهم کتاب‌ها",
        "क्‍ष ക്‍",
        "0\ufe00 ∩\ufe00 ᠠ\u180b葛\U000e0100",
        "\ufeffwith a byte order mark",
        "word\u2060joiner zero\u200bwidth\u200b\u200bspace f\u2061(x) a\u2062b",
        "שלום \u200fעולם\u200e",
    ],
    ids=["emoji", "persian", "indic", "variants", "bom", "format", "bidi"],
)
def test_characters_with_a_meaning_stay(text: str) -> None:
    assert strip(text) == text


@given(st.lists(st.tuples(st.sampled_from(Role), texts), max_size=4), st.binary(min_size=1, max_size=60))
def test_messages_are_seen_without_what_is_hidden_and_else_unchanged(said: list[tuple[Role, str]], data: bytes) -> None:
    messages = [Message(role, f"{text} {hide(data)}") for role, text in said]
    assert visible(messages) == tuple(Message(role, strip(text) + " ") for role, text in said)


def test_messages_are_read_once_and_left_as_they_are() -> None:
    message = Message(Role.ASSISTANT, f"Hello {RUN}")
    seen = visible(iter([message, Message(Role.USER, "hi")]))
    assert seen == (Message(Role.ASSISTANT, "Hello "), Message(Role.USER, "hi"))
    assert reveal(message.text) == [DATA]
    assert visible([]) == ()


# The gap before a run ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        "Hello",
        "**Note:**",
        "see https://example.com/x",
        "_it_",
        "| a |\n|---|\n| 1 |",
        "- a\n- b",
        "# H",
        "你好。",
        "- [a](b)",
    ],
)
def test_a_space_keeps_links_and_emphasis_apart_from_a_run(answer: str) -> None:
    assert gap(answer) == " "


@pytest.mark.parametrize(
    "answer",
    [
        "```py\nx = 1\n```",
        "~~~\nx\n~~~",
        "- a\n- ```\n  x\n  ```",
        "1. a\n   ````",
        "> ```",
        "a\n\n---",
        "* * *",
        "Title\n===",
        "## H ##",
        "text [1]\n\n[1]: http://x.y 'title'",
        "$$\nx\n$$",
        "\\[\nx\n\\]",
        "``` ",
    ],
)
def test_a_line_that_means_a_block_gets_a_line_end(answer: str) -> None:
    assert gap(answer) == "\n"


@pytest.mark.parametrize("answer", ["| a |\n|---|\n| 1 |\n", "a | b\r\n-|-\r\n1 | 2\r\n", "|a|\n|-|\n|1|\n  "])
def test_a_run_behind_the_line_end_of_a_table_is_no_row_of_it(answer: str) -> None:
    assert gap(answer) == "\n"
    assert gap(answer + "\n") == ""


@pytest.mark.parametrize("answer", ["", "Hello ", "Hello\n", "```\n", "\u3000"])
def test_nothing_is_needed_behind_white_space(answer: str) -> None:
    assert gap(answer) == ""


@pytest.mark.parametrize("line", ["- " * 50_000 + "x", "1. " * 50_000 + "x", "# " * 50_000 + "x", "-" * 100_000 + "x"])
def test_a_hostile_last_line_costs_little(line: str) -> None:
    assert gap(line) == " "
