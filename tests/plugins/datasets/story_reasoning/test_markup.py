"""The parser of the markup of StoryReasoning."""

import re
import sys
import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vsr_plugins.datasets.story_reasoning.markup import ParsedStory, _joins, parse_story

EXAMPLE = """<gdi image1>
In the <gdl bg1>narrow kitchen</gdl>, <gdo char1>Mara</gdo> <gda char1>opens</gda> <gdo obj2 obj3>the two
boxes</gdo> beside <gdo bg7>a wall</gdo>. "Not here," <gdo char1>she</gdo> <gda char1>whispers</gda>.
</gdi>

<gdi image2>
<gdo char2>Ivo</gdo> <gda char2>waits</gda> outside. <gdo char1 char2>Their</gdo> eyes meet;
<gdo char1>Mara</gdo>'s hand <gda char1>tightens</gda> on <gdo obj2>the box</gdo> near
<gdl lm1>the old lighthouse</gdl>.
</gdi>
"""


def texts(parsed: ParsedStory) -> list[str | None]:
    return [text for text, _ in parsed.frames]


def codes(parsed: ParsedStory) -> list[tuple[str, int | None]]:
    return [(note.code, note.frame) for note in parsed.notes]


def spans(parsed: ParsedStory, frame: int = 0) -> list[tuple[str, tuple[str, ...], str]]:
    text, entities = parsed.frames[frame]
    return [(entity.kind, entity.ids, (text or "")[entity.start : entity.end]) for entity in entities]


def segment(body: str) -> ParsedStory:
    return parse_story(f"<gdi image1>{body}</gdi>", 1)


def test_documented_example() -> None:
    parsed = parse_story(EXAMPLE, 2)
    assert texts(parsed) == [
        'In the narrow kitchen, Mara opens the two boxes beside a wall. "Not here," she whispers.',
        "Ivo waits outside. Their eyes meet; Mara's hand tightens on the box near the old lighthouse.",
    ]
    assert spans(parsed, 1) == [
        ("object", ("char2",), "Ivo"),
        ("action", ("char2",), "waits"),
        ("object", ("char1", "char2"), "Their"),
        ("object", ("char1",), "Mara"),
        ("action", ("char1",), "tightens"),
        ("object", ("obj2",), "the box"),
        ("landmark", ("lm1",), "the old lighthouse"),
    ]
    assert parsed.notes == ()


def test_a_wrong_closer_ends_the_span() -> None:
    parsed = segment("<gdo char4>He</gdo> <gda char4>stands</gdo> and <gda char4>sits</gda>.")
    assert texts(parsed) == ["He stands and sits."]
    assert [text for _, _, text in spans(parsed)] == ["He", "stands", "sits"]
    assert codes(parsed) == [("mismatched_close", 0)]


def test_all_open_spans_end_at_the_next_closer() -> None:
    parsed = segment("<gdo char1>the <gda char1>running</gda> man</gdo> falls")
    assert texts(parsed) == ["the running man falls"]
    assert [text for _, _, text in spans(parsed)] == ["the running", "running"]
    assert codes(parsed) == [("mismatched_close", 0), ("mismatched_close", 0)]


def test_segment_closer_inside_an_entity_keeps_words() -> None:
    parsed = segment("<gdo char1>Mara</gdi> walks on.")
    assert texts(parsed) == ["Mara walks on."]
    assert spans(parsed) == [("object", ("char1",), "Mara")]
    assert codes(parsed) == [("mismatched_close", 0)]


def test_unclosed_entity() -> None:
    closed = parse_story("<gdi image1><gdo char1>Mara walks.</gdi><gdi image2>b</gdi>", 2)
    assert spans(closed) == [("object", ("char1",), "Mara walks.")]
    assert codes(closed) == [("mismatched_close", 0)]
    unclosed = parse_story("<gdi image1>So <gdo char1>Mara walks. <gdi image2>b</gdi>", 2)
    assert spans(unclosed) == [("object", ("char1",), "Mara walks.")]
    assert codes(unclosed) == [("unclosed_entity", 0), ("unclosed_segment", 0)]


def test_segments_in_any_order_and_case() -> None:
    parsed = parse_story("<gdf image2>b</gdi><gdi image01>a</gdi>", 2)
    assert texts(parsed) == ["a", "b"]
    assert codes(parsed) == [("mismatched_close", 1)]


def test_an_unclosed_last_segment() -> None:
    parsed = parse_story("<gdi image1>a</gdi><gdi image2>b and c", 2)
    assert texts(parsed) == ["a", "b and c"]
    assert codes(parsed) == [("unclosed_segment", 1)]


def test_repeated_segment_is_joined_with_shifted_spans() -> None:
    parsed = parse_story("<gdi image1>One. </gdi><gdi image1> <gdo char1>Two</gdo>.</gdi>", 1)
    assert texts(parsed) == ["One. Two."]
    assert spans(parsed) == [("object", ("char1",), "Two")]
    assert codes(parsed) == [("duplicate_segment", 0)]


def test_missing_and_empty_segments_are_none() -> None:
    parsed = parse_story("<gdi image1>a</gdi><gdi image3> <gdo char1> </gdo>\n</gdi>", 4)
    assert texts(parsed) == ["a", None, None, None]
    assert codes(parsed) == [("missing_segment", 1), ("empty_text", 2), ("missing_segment", 3)]


@pytest.mark.parametrize("number", ["0", "3", "9" * 5000])
def test_segment_without_image_is_dropped(number: str) -> None:
    parsed = parse_story(f"<gdi image1>a</gdi><gdi image{number}>b <gdo char1>c</gdo></gdi><gdi image2>d</gdi>", 2)
    assert texts(parsed) == ["a", "d"]
    assert codes(parsed) == [("segment_out_of_range", None)]


def test_text_outside_every_segment() -> None:
    parsed = parse_story("Title\n<gdi image1>a</gdi> \n and <gdo char1>more</gdo>", 1)
    assert texts(parsed) == ["a"]
    assert codes(parsed) == [("text_outside_segment", None)] * 3


def test_a_segment_without_a_number() -> None:
    parsed = parse_story("<gdi>a</gdi><gdi picture1>b</gdi>", 1)
    assert texts(parsed) == [None]
    assert ("text_outside_segment", None) in codes(parsed)
    assert ("unknown_attribute", None) in codes(parsed)


def test_old_box_attributes() -> None:
    parsed = segment('<gdo char1 bb="1,2,30,40">Mara</gdo> <gdo bb="1, 2, 3, 4" obj2>sits</gdo>')
    assert spans(parsed) == [("object", ("char1",), "Mara"), ("object", ("obj2",), "sits")]
    assert codes(parsed) == [("old_form", 0), ("old_form", 0)]


def test_unknown_attributes_are_reported() -> None:
    parsed = segment("<gdo char1 mood=sad>Mara</gdo> <gdo>sits</gdo>")
    assert spans(parsed) == [("object", ("char1",), "Mara"), ("object", (), "sits")]
    assert codes(parsed) == [("unknown_attribute", 0), ("unknown_attribute", 0)]


def test_whitespace_collapses_across_tags() -> None:
    parsed = segment("\n a \t<gdo char1> \u00a0b </gdo> <gdl bg1> c</gdl>\r\n , d")
    assert texts(parsed) == ["a b c , d"]
    assert [text for _, _, text in spans(parsed)] == ["b", "c"]


def test_an_entity_without_words() -> None:
    parsed = segment("a <gdo char1></gdo> b")
    assert texts(parsed) == ["a b"]
    assert spans(parsed) == []
    assert codes(parsed) == [("empty_entity", 0)]


def test_spans_are_correct_after_nfc_shortens_the_text() -> None:
    parsed = segment("Rene\u0301e e\u0301ve <gdo char1>Ange\u0300le</gdo> et <gda char1>\u1112\u1161\u11ab</gda>.")
    assert texts(parsed) == ["Renée éve Angèle et 한."]
    assert [text for _, _, text in spans(parsed)] == ["Angèle", "한"]


def test_spans_are_correct_after_nfc_lengthens_the_text() -> None:
    parsed = segment("\u0958\u0958 <gdo char1>Mara</gdo>")
    assert len(texts(parsed)[0] or "") == 9
    assert spans(parsed) == [("object", ("char1",), "Mara")]


def test_combining_mark_after_a_tag_joins_its_letter() -> None:
    parsed = segment("caf<gdo char1>e</gdo>\u0301 o<gdo char2>\u0308x</gdo>")
    assert texts(parsed) == ["café öx"]
    assert [text for _, _, text in spans(parsed)] == ["é", "öx"]


def test_composing_characters_are_no_boundary() -> None:
    missed = []
    for code in range(0xA0, sys.maxunicode + 1):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            pair = "".join(chr(int(part, 16)) for part in parts)
            if unicodedata.normalize("NFC", pair) == chr(code) and not _joins(pair[1]):
                missed.append(hex(code))
        if unicodedata.combining(chr(code)) and not _joins(chr(code)):
            missed.append(hex(code))
    assert missed == []
    assert all(_joins(chr(code)) for code in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)))


WORDS = st.text(st.sampled_from("ab é.,'\n e\u0301\u0308\u0327\u1112\u1161\u11ab\u0958<>"), max_size=6)
IDS = st.lists(st.sampled_from(["char1", "char2", "obj3", "bg1", "lm2"]), min_size=1, max_size=3).map(" ".join)
ENTITY = st.builds(
    lambda opener, ids, words, closer: f"<gd{opener} {ids}>{words}</gd{closer}>",
    st.sampled_from("oal"),
    IDS,
    WORDS,
    st.sampled_from("oal"),
)
BODY = st.lists(st.one_of(WORDS, ENTITY), max_size=6).map("".join)
SEGMENT_TAGS = ["<gdi image1>", "<gdi image2>", "<gdf image3>", "<gdi>", "</gdi>", "</gdf>"]
ENTITY_TAGS = ["<gdo char1>", "<gda x>", "<gdl>", "</gdo>", "</gda>", "</gdl>", '<gdo bb="1,2']
TAGS = st.sampled_from([*SEGMENT_TAGS, *ENTITY_TAGS, "<gd", ">", "\u0301", " "])


def plain(body: str) -> str:
    """The contract's clean text, by its own words: tags deleted, space collapsed, NFC, strip."""
    return unicodedata.normalize("NFC", " ".join(re.sub(r"</?gd([ifoal])\b([^>]*)>", "", body).split())).strip()


@given(st.lists(BODY, max_size=5))
@example(["<gdo char1>e</gdo>", "\u0301"])
def test_no_character_of_a_segment_is_lost(bodies: list[str]) -> None:
    # A body's own "<" may begin a tag that swallows words: the tag's pattern says so, and `plain` with it.
    story = "\n".join(f"<gdi image{number}>{body} </gdi>" for number, body in enumerate(bodies, start=1))
    parsed = parse_story(story, len(bodies))
    assert texts(parsed) == [plain(body) or None for body in bodies]
    check(parsed)


@settings(max_examples=300)
@given(st.lists(st.one_of(TAGS, WORDS), max_size=25).map("".join), st.integers(0, 3))
def test_random_markup_has_valid_spans(raw: str, frames: int) -> None:
    parsed = parse_story(raw, frames)
    assert len(parsed.frames) == frames
    check(parsed)


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_story_still_parses(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(EXAMPLE)))
    end = data.draw(st.integers(start, len(EXAMPLE)))
    raw = EXAMPLE[:start] + data.draw(st.one_of(TAGS, st.text(max_size=3))) + EXAMPLE[end:]
    check(parse_story(raw, 2))


@given(st.text())
def test_any_string_is_parsed(raw: str) -> None:
    check(parse_story(raw, 2))


def check(parsed: ParsedStory) -> None:
    """What holds of every story: clean texts, spans within them, no half frame without a note."""
    for index, (text, entities) in enumerate(parsed.frames):
        if text is None:
            assert entities == ()
            assert {("missing_segment", index), ("empty_text", index)} & set(codes(parsed))
            continue
        assert text == unicodedata.normalize("NFC", text)
        assert not re.search(r"^ |\s\s| $", text)
        for entity in entities:
            assert 0 <= entity.start < entity.end <= len(text)
            assert entity.end == len(text) or unicodedata.combining(text[entity.end]) == 0
    assert all(note.frame is None or 0 <= note.frame < len(parsed.frames) for note in parsed.notes)


@pytest.mark.parametrize(
    "unit",
    [
        "<gdi ",
        "<gdo char1>a ",
        "a <gdo char1>b</gda> c",
        "<gdi image1>a ",
        "\u0301<gdo char1>\u0301</gdo>",
        "\uac00<gdo char1>\uac00</gdo>",
        '<gdo bb="',
        "<gdo bb = 1>   ",
        "</gdi>",
    ],
)
def test_parsing_work_is_linear(unit: str) -> None:
    def seconds(times: int) -> float:
        raw = "<gdi image1>" + unit * times + " end </gdi>"
        start = time.process_time()
        parse_story(raw, 1)
        return time.process_time() - start

    # Ten times the story takes some ten times as long, and would take a hundred times if work were quadratic.
    small = max(min(seconds(1000) for _ in range(3)), 1e-3)
    assert min(seconds(10_000) for _ in range(2)) < 40 * small
