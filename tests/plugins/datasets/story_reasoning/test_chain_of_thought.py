"""The parser of the chain-of-thought tables of StoryReasoning."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vsr_cli.api import Character, Phase, Setting, Thing
from vsr_plugins.datasets.story_reasoning.chain_of_thought import ParsedAnalysis, parse_analysis

SIZE = (240, 100)
CHARACTERS = "| Character ID | Name | Description | Emotions | Actions | Narrative Function | Bounding Box |"
OBJECTS = "| Object ID | Description | Function | Interaction | Narrative Function | Bounding Box |"
SETTING = "| Setting Element | Description | Mood | Time | Narrative Function |"
RULE = "|---|:---|"
MARA = "| char1 | Mara | A tall woman | calm | opens a box | Protagonist | 10,20,60,90 |"
BOX = "| obj2 | A box | To hold | opened by char1 | Clue | 70,60,90,80 |"
KITCHEN = "| Location | A narrow kitchen | tense | night | Backdrop |"
EXAMPLE = f"""## Image 1

### Characters
{CHARACTERS}
{RULE}
{MARA}

### Objects
{OBJECTS}
{RULE}
{BOX}

### Setting
{SETTING}
{RULE}
{KITCHEN}

## Image 2
### Characters
{CHARACTERS}
{RULE}
{MARA.replace("calm", "afraid")}

## Narrative Structure
**Introduction**: Mara finds
the box.

- **Conclusion:** She opens it.
"""


def mara(**other: object) -> Character:
    said = {"name": "Mara", "description": "A tall woman", "emotions": "calm", "actions": "opens a box"}
    whole = {**said, "narrative_function": "Protagonist", "box": (10, 20, 60, 90), **other}
    return Character(id="char1", **whole)  # type: ignore[arg-type]


def codes(parsed: ParsedAnalysis) -> list[tuple[str, int | None]]:
    return [(note.code, note.frame) for note in parsed.notes]


def one(*rows: str, header: str = CHARACTERS, size: tuple[int, int] | None = SIZE) -> ParsedAnalysis:
    return parse_analysis("\n".join(["## Image 1", header, RULE, *rows]), [size])


def test_documented_example() -> None:
    parsed = parse_analysis(EXAMPLE, [SIZE, SIZE])
    first, second = parsed.analysis.frames
    assert first.characters == (mara(),)
    assert first.things == (
        Thing(
            id="obj2",
            description="A box",
            function="To hold",
            interaction="opened by char1",
            narrative_function="Clue",
            box=(70, 60, 90, 80),
        ),
    )
    assert first.settings == (
        Setting(
            element="Location",
            description="A narrow kitchen",
            mood="tense",
            time="night",
            narrative_function="Backdrop",
        ),
    )
    assert second.characters == (mara(emotions="afraid"),)
    assert (second.things, second.settings) == ((), ())
    assert parsed.analysis.phases == (
        Phase(name="Introduction", text="Mara finds\nthe box."),
        Phase(name="Conclusion", text="She opens it."),
    )
    assert parsed.ids == {"char1", "obj2"}
    assert parsed.notes == ()


def test_phases_with_and_without_names() -> None:
    raw = "## Image 1\n" + CHARACTERS + "\n## Narrative Structure\nIn short.\n### Climax\nShe opens it.\n## Image 1\nno"
    parsed = parse_analysis(raw, [SIZE])
    assert parsed.analysis.phases == (Phase(name="", text="In short."), Phase(name="Climax", text="She opens it."))


def test_reordered_or_missing_columns() -> None:
    header = "| Bounding Box | **Name** | character  id | Emotions |"
    parsed = one("| 10,20,60,90 | Mara | `char1` | calm |", header=header)
    (person,) = parsed.analysis.frames[0].characters
    assert person == mara(description=None, actions=None, narrative_function=None)
    assert parsed.notes == ()


def test_rows_without_outer_bars_and_escaped_bars() -> None:
    parsed = one(MARA.strip("| ").replace("tall", r"tall \| thin"), header=CHARACTERS.strip("| "))
    assert parsed.analysis.frames[0].characters == (mara(description="A tall | thin woman"),)
    assert parsed.notes == ()


def test_bar_in_a_cell_makes_ambiguous_cells_unknown() -> None:
    parsed = one(MARA.replace("tall woman", "tall | thin woman"), MARA)
    nothing = dict.fromkeys(("name", "description", "emotions", "actions", "narrative_function"))
    assert parsed.analysis.frames[0].characters == (mara(**nothing), mara())
    assert codes(parsed) == [("shifted_row", 0)]
    assert "description" in parsed.notes[0].detail


def test_bar_between_two_known_cells_is_restored() -> None:
    header = "| Character ID | Name | Bounding Box | Emotions |"
    parsed = one("| char1 | Mara | or Maria | 10,20,60,90 | calm |", header=header)
    (person,) = parsed.analysis.frames[0].characters
    assert (person.name, person.box, person.emotions) == ("Mara | or Maria", (10, 20, 60, 90), "calm")
    assert codes(parsed) == [("shifted_row", 0)]


@pytest.mark.parametrize(
    "row",
    [
        MARA.replace("| calm ", ""),  # too few
        MARA.replace("char1 | Mara", "Mara | char1"),
        MARA.replace("10,20,60,90", "not legible at all"),
        # one cell lost, another one parted: as many cells as there must be, and all of them shifted
        MARA.replace("tall woman", "tall | woman").replace(" | 10,20,60,90", ""),
        MARA.replace("Protagonist", "Protagonist | 1,2,3,4"),  # two boxes, and either may be the one
        MARA.replace("tall", "tall | thin").replace("10,20,60,90", "n/a"),
    ],
)
def test_misshapen_row_is_dropped_and_noted(row: str) -> None:
    parsed = one(row, MARA)
    assert parsed.analysis.frames[0].characters == (mara(),)
    assert codes(parsed) == [("unreadable_row", 0)]
    assert "char1" in parsed.ids


def test_setting_rows_cannot_be_realigned() -> None:
    parsed = one(KITCHEN.replace("narrow", "narrow | dark"), KITCHEN, header=SETTING)
    assert [setting.description for setting in parsed.analysis.frames[0].settings] == ["A narrow kitchen"]
    assert codes(parsed) == [("unreadable_row", 0)]


@pytest.mark.parametrize(
    ("box", "read", "noted"),
    [
        ("[0, 0, 240, 100]", (0, 0, 240, 100), []),
        ("-24,20,60,110", (0, 20, 60, 100), ["box_out_of_range"]),
        ("-500,20,60,9999", (0, 20, 60, 100), ["box_out_of_range"]),
        ("300,20,400,50", None, ["box_out_of_range"]),
        ("60,20,10,90", None, ["unreadable_box"]),
        ("1,2,3", None, ["unreadable_box"]),
        ("1.5,2,3.5,4", None, ["unreadable_box"]),
        ("9999999999,2,3,4", None, ["unreadable_box"]),
        ("N/A", None, []),
        ("", None, []),
    ],
)
def test_boxes_are_clipped_to_the_image(box: str, read: object, noted: list[str]) -> None:
    parsed = one(MARA.replace("10,20,60,90", box))
    assert parsed.analysis.frames[0].characters == (mara(box=read),)
    assert codes(parsed) == [(code, 0) for code in noted]


def test_box_without_image_size_is_clipped_at_zero() -> None:
    parsed = one(MARA.replace("10,20,60,90", "-5,20,9000,90"), size=None)
    assert parsed.analysis.frames[0].characters[0].box == (0, 20, 9000, 90)
    assert codes(parsed) == [("box_out_of_range", 0)]


def test_absent_tables() -> None:
    assert codes(parse_analysis("## Image 1\n## Image 2\n## Narrative Structure", [SIZE] * 2)) == [
        ("missing_tables", None)
    ]
    parsed = parse_analysis(EXAMPLE, [SIZE] * 3)
    assert codes(parsed) == [("missing_analysis", 2)]
    assert len(parsed.analysis.frames) == 3


def test_out_of_range_repeated_and_unnamed_images() -> None:
    table = f"{CHARACTERS}\n{RULE}\n{MARA}\n"
    assert codes(parse_analysis(f"## Image 1\n{table}## Image {'9' * 5000}\n{table}", [SIZE])) == [
        ("analysis_out_of_range", None)
    ]
    twice = parse_analysis(f"## Image 1\n{table}## **Image 01:** again\n{table}", [SIZE])
    assert twice.analysis.frames[0].characters == (mara(), mara())
    assert codes(twice) == [("duplicate_analysis", 0)]
    other = parse_analysis(f"## Image 1\n{table}## Appendix\n{table}", [SIZE])
    assert other.analysis.frames[0].characters == (mara(),)
    assert codes(other) == [("unreadable_row", None)]


def test_a_table_of_another_kind_is_noted() -> None:
    for header in ("| Prop | Use |", CHARACTERS.replace("Emotions", "Actions"), CHARACTERS.replace("Name", "Alias")):
        parsed = one(MARA, header=header)
        assert parsed.analysis.frames[0].characters == ()
        assert codes(parsed)[0] == ("unknown_table", 0)


LINES = [*EXAMPLE.splitlines(), "## Image 3", "| | |", "|", "| char9 |", "\u2028", "| char1 | 1,2,3,4"]


def check(parsed: ParsedAnalysis, frames: int) -> None:
    """What holds of every analysis: a frame for each image, boxes inside it, words of the text alone."""
    assert len(parsed.analysis.frames) == frames
    for frame in parsed.analysis.frames:
        for item in (*frame.characters, *frame.things):
            assert item.id in parsed.ids
            if item.box:
                assert 0 <= item.box[0] < item.box[2] <= SIZE[0]
                assert 0 <= item.box[1] < item.box[3] <= SIZE[1]
    assert all(note.frame is None or 0 <= note.frame < frames for note in parsed.notes)


@settings(max_examples=200)
@given(st.lists(st.one_of(st.sampled_from(LINES), st.text("|#*-, 1charobj\n", max_size=12)), max_size=20))
def test_any_lines_are_parsed_without_error(lines: list[str]) -> None:
    check(parse_analysis("\n".join(lines), [SIZE] * 2), 2)


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_analysis_is_still_read(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(EXAMPLE)))
    end = data.draw(st.integers(start, min(len(EXAMPLE), start + 40)))
    raw = EXAMPLE[:start] + data.draw(st.text("|,-#*\n 0x", max_size=4)) + EXAMPLE[end:]
    check(parse_analysis(raw, [SIZE] * 2), 2)


@settings(max_examples=200)
@given(st.integers(0, 5), st.integers(0, 6), st.sampled_from(["|", " | ", "||"]))
def test_extra_bar_gives_no_wrong_value(cell: int, at: int, bar: str) -> None:
    cells = MARA.strip("| ").split(" | ")
    cells[cell] = cells[cell][:at] + bar + cells[cell][at:]
    people = one(f"| {' | '.join(cells)} |").analysis.frames[0].characters
    for person in people:
        for name in ("id", "name", "description", "emotions", "actions", "narrative_function", "box"):
            assert getattr(person, name) in (None, getattr(mara(), name))


@pytest.mark.parametrize(
    "unit", ["|", "# ", "## Image 1\n", "| a ", "1,", "* ", "**a", "\\|", f"{CHARACTERS}\n{MARA}\n"]
)
def test_parsing_time_is_linear(unit: str) -> None:
    def steps(times: int) -> int:
        count = 0

        def tick(*_: object) -> object:
            nonlocal count
            count += 1
            return tick

        sys.settrace(tick)
        try:
            parse_analysis(f"## Image 1\n{CHARACTERS}\n{unit * times}", [SIZE])
        finally:
            sys.settrace(None)
        return count

    assert steps(2000) < 14 * steps(200)
