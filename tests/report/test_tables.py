"""Tables on narrow terminals: numbers never break, names never vanish, nothing exceeds the width."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from vsr_cli.report.tables import GAP, MANY, Column, blocks, fitting_table

WIDTHS = (40, 60, 80, 120)
NAMES = ["2026-11-29_16-47-00_attention-gru_with-the-copying-decoder", "b", "runs/of/another/folder/lstm-large-seed-12"]
NUMBERS = ["0.4569", "-12345.6789", "0.0001"]
SENTENCE = "the mean over places and then over layers of the squared distance of unit feature vectors"


def rendered(table, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert max(map(cell_len, lines)) <= width, "\n".join(lines)
    assert "…" not in console.file.getvalue()
    return lines


def squeezed(lines):
    """Return what is written with no space in it, so that a name is found however it wraps where it has no neighbor."""
    return re.sub(r"\s", "", "".join(lines))


def table(columns, **further):
    return [
        Column("run", NAMES, justify="left"),
        *(Column(f"score {number}", NUMBERS, **further) for number in range(columns)),
        Column("so it is", ["better", "", "not significant"], justify="left"),
    ]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("count", [1, 3, 7])
def test_numbers_never_break_and_names_never_vanish(width, count):
    lines = rendered(fitting_table(table(count), width=width), width)
    words = " ".join(lines).split()
    for number in NUMBERS:
        assert words.count(number) == count
    # A name wraps at its column's left: its first cells head a line.
    assert [name for name in NAMES if not any(line.startswith(name[:8]) for line in lines)] == []
    assert "better" in words
    assert "significant" in squeezed(lines)


def test_sentences_wrap_first_then_columns_are_dropped_by_rank():
    columns = [
        Column("name", ["first"], justify="left"),
        Column("value", ["1.25"]),
        Column("from", ["somewhere-long-1.0.0"], rank=1, justify="left"),
        Column("when", ["2026-11-29 16:47"], rank=2, justify="left"),
        Column("what it is", [SENTENCE], justify="left", wraps=20),
    ]
    wide, middle, narrow = (" ".join(rendered(fitting_table(columns, width=width), width)) for width in (90, 66, 44))
    assert "2026-11-29 16:47" in wide
    assert "somewhere-long-1.0.0" in middle
    assert "2026" not in middle
    assert "somewhere" not in narrow
    for lines in (wide, middle, narrow):
        assert "1.25" in lines
        assert "vectors" in lines


def test_a_row_too_wide_for_a_line_takes_several():
    columns = [*table(7, rank=1), Column("started", ["2026-11-29", "", "2026-11-28"], rank=3, justify="left")]
    columns += [Column(f"n{number}", ["1234567890"] * 3) for number in range(6)]
    lines = rendered(fitting_table(columns, width=60, styles=["bold"]), 60)
    assert lines[0] == NAMES[0]
    assert sum("started: 2026-11-29" in line for line in lines) == 1
    assert sum(line.count("1234567890") for line in lines) == 18
    assert sum(line.count("-12345.6789") for line in lines) == 7
    assert "started:" not in "".join(lines[lines.index("b") : lines.index(NAMES[2])])


def test_multi_line_and_styled_cells_are_unchanged():
    columns = [
        Column("metric", [Text("bleu", "bold")], justify="left"),
        Column("model", [Text("45.69\n40.1..50.2")]),
        Column("copy-last", [Text.assemble("12.01 ", ("▲", "green"))]),
    ]
    _, first, second = rendered(fitting_table(columns, width=40), 40)
    assert first.split() == ["bleu", "45.69", "12.01", "▲"]
    assert second.split() == ["40.1..50.2"]
    stacked = rendered(fitting_table(columns, width=20), 20)
    assert stacked == ["bleu", "  model: 45.69", "  40.1..50.2", "  copy-last: 12.01 ▲"]


def test_a_wide_table_is_split_and_each_part_has_the_names():
    names, columns = (
        Column("", ["stories", "words"], justify="left"),
        [Column(f"s{n}", ["1,234", "9"]) for n in range(9)],
    )
    parts = blocks(names, columns, width=30)
    assert [part[0] for part in parts] == [names] * len(parts)
    assert [column for part in parts for column in part[1:]] == columns
    for part in parts:
        rendered(fitting_table(part, width=30), 30)


@given(
    st.lists(st.text("ab -", min_size=1, max_size=70), min_size=1, max_size=5),
    st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=8),
    st.integers(24, 130),
)
def test_any_names_and_numbers_are_complete(names, numbers, width):
    columns = [Column("name", names, justify="left")]
    columns += [Column(f"c{at}", [str(number)] * len(names)) for at, number in enumerate(numbers)]
    lines = rendered(fitting_table(columns, width=width), width)
    words = " ".join(lines).split()
    for number in set(numbers):
        assert words.count(str(number)) >= numbers.count(number) * len(names)


def test_the_gap_between_columns_is_that_of_the_constant():
    (head, _) = rendered(fitting_table([Column("a", ["1"]), Column("b", ["2"])], width=40), 40)
    assert head == f"a{' ' * GAP}b"


def test_a_long_table_is_laid_out_like_a_short_one():
    names = [f"run {number}" for number in range(MANY)] + ["大", "esc\x1b", "a longer name"]

    def columns(rows):
        return [
            Column("run", names[rows], justify="left"),
            Column("n", [str(len(name)) for name in names[rows]]),
            Column("", [name[:2] for name in names[rows]], justify="left"),
        ]

    long, short = (rendered(fitting_table(columns(rows), width=60), 60) for rows in (slice(None), slice(3, None)))
    assert len(short) == MANY + 1
    assert [long[0], *long[4:]] == short
