"""Random stories in the grammar of the markup, with and without damage: no word is lost."""

import unicodedata
from collections import Counter
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from vsr_plugins.datasets.story_reasoning.markup import KINDS, ParsedStory, parse_story

FRAMES = 4
IDS = st.lists(st.sampled_from(["char1", "char2", "obj3", "bg1", "lm2"]), min_size=1, max_size=3)
# No "<" or ">": what these would do to a tag is the tag's business, and tested beside the scanner.
WORDS = st.text(st.sampled_from("ab é.,'|\"\n\u00a0e\u0301\u0327\u1112\u1161\u11ab\u0958"), max_size=8)


@dataclass(frozen=True)
class Tagged:
    """Words with an entity's tag around them."""

    letter: str
    ids: tuple[str, ...]
    words: str
    box: str = ""
    closer: str = ""
    """Another closing tag than its own."""

    def __str__(self) -> str:
        return f"<gd{self.letter} {' '.join(self.ids)}{self.box}>{self.words}{self.closer or f'</gd{self.letter}>'}"


@dataclass(frozen=True)
class Segment:
    number: int
    body: tuple[Tagged | str, ...]
    opener: str = "gdi"

    def __str__(self) -> str:
        return f"<{self.opener} image{self.number}>{''.join(map(str, self.body))}</gdi>"

    def words(self) -> str:
        return "".join(part if isinstance(part, str) else part.words for part in self.body)


def tagged(closers: st.SearchStrategy[str], boxes: st.SearchStrategy[str]) -> st.SearchStrategy[Tagged]:
    return st.builds(Tagged, st.sampled_from("oal"), IDS.map(tuple), WORDS, boxes, closers)


def bodies(
    closers: st.SearchStrategy[str], boxes: st.SearchStrategy[str]
) -> st.SearchStrategy[tuple[Tagged | str, ...]]:
    return st.lists(st.one_of(WORDS, tagged(closers, boxes)), max_size=6).map(tuple)


CLEAN = bodies(st.just(""), st.just(""))
OLD_OR_WRONG = bodies(
    st.sampled_from(["", "", "</gdo>", "</gda>", "</gdl>"]), st.sampled_from(["", ' bb="1,2,30,40"', " bb='-1,2, 3,4'"])
)


def clean(words: str) -> str | None:
    """The contract's clean text: white space collapsed, NFC, stripped; None where nothing is left."""
    return unicodedata.normalize("NFC", " ".join(words.split())) or None


def letters(text: str | None) -> Counter[str]:
    return Counter(unicodedata.normalize("NFD", "".join((text or "").split())))


def texts(parsed: ParsedStory) -> list[str | None]:
    return [text for text, _ in parsed.frames]


def codes(parsed: ParsedStory) -> set[str]:
    return {note.code for note in parsed.notes}


@given(st.lists(CLEAN, min_size=FRAMES, max_size=FRAMES))
def test_grammatical_story_is_parsed_exactly(bodies: list[tuple[Tagged | str, ...]]) -> None:
    segments = [Segment(number, body) for number, body in enumerate(bodies, 1)]
    parsed = parse_story("\n\n".join(map(str, segments)), FRAMES)
    assert texts(parsed) == [clean(segment.words()) for segment in segments]
    assert codes(parsed) <= {"empty_text", "empty_entity"}
    for segment, (text, entities) in zip(segments, parsed.frames, strict=True):
        tagged = [part for part in segment.body if isinstance(part, Tagged) and part.words.strip()]
        if text:
            assert [(entity.kind, entity.ids) for entity in entities] == [
                (KINDS[one.letter], one.ids) for one in tagged
            ]
        for one, entity in zip(tagged, entities, strict=True):
            # A mark that joins the letter before it takes that letter in: never less than was tagged.
            assert letters(one.words) <= letters((text or "")[entity.start : entity.end])


@given(st.lists(OLD_OR_WRONG, min_size=FRAMES, max_size=FRAMES))
def test_wrong_closers_and_old_boxes_lose_no_word(bodies: list[tuple[Tagged | str, ...]]) -> None:
    segments = [Segment(number, body) for number, body in enumerate(bodies, 1)]
    parsed = parse_story("".join(map(str, segments)), FRAMES)
    assert texts(parsed) == [clean(segment.words()) for segment in segments]
    parts = [part for segment in segments for part in segment.body if isinstance(part, Tagged)]
    found = Counter(note.code for note in parsed.notes)
    assert found["mismatched_close"] == sum(bool(p.closer) and p.closer != f"</gd{p.letter}>" for p in parts)
    assert found["old_form"] == sum(bool(part.box) for part in parts)


@settings(max_examples=200)
@given(
    st.lists(st.builds(Segment, st.integers(0, FRAMES + 1), OLD_OR_WRONG, st.sampled_from(["gdi", "gdf"])), max_size=7),
    st.booleans(),
    st.lists(WORDS, min_size=8, max_size=8),
)
def test_repeated_missing_and_out_of_range_segments(
    segments: list[Segment], unclosed: bool, outside: list[str]
) -> None:
    raw = outside[0] + "".join(str(segment) + words for segment, words in zip(segments, outside[1:], strict=False))
    unclosed = unclosed and bool(segments)
    if unclosed:
        raw = raw[: raw.rindex("</gdi>")]
    parsed = parse_story(raw, FRAMES)
    own = [[one.words() for one in segments if one.number == number] for number in range(1, FRAMES + 1)]
    assert texts(parsed) == [clean(" ".join(words)) for words in own]
    counts = Counter(one.number for one in segments)
    inside = range(1, FRAMES + 1)
    found = Counter(note.code for note in parsed.notes)
    assert found["duplicate_segment"] == sum(max(0, counts[number] - 1) for number in inside)
    assert found["missing_segment"] == sum(counts[number] == 0 for number in inside)
    assert found["segment_out_of_range"] == counts[0] + counts[FRAMES + 1]
    assert found["unclosed_segment"] == unclosed
    strays = outside[: len(segments) + (not unclosed)]
    assert found["text_outside_segment"] == sum(bool(words.strip()) for words in strays)


@settings(max_examples=200)
@given(st.lists(CLEAN, min_size=FRAMES, max_size=FRAMES), st.lists(st.integers(0, 200), max_size=4))
def test_removed_entity_tags_lose_no_word(bodies: list[tuple[Tagged | str, ...]], gone: list[int]) -> None:
    # Each entity tag is one piece: some are taken out, openers and closers alike, and the words stay where they are.
    raw = "".join(str(Segment(number, body)) for number, body in enumerate(bodies, 1))
    tags = [piece for piece in pieces(raw) if piece[:4] in ("<gdo", "<gda", "<gdl", "</gd") and piece != "</gdi>"]
    for at in gone:
        if tags:
            raw = raw.replace(tags[at % len(tags)], "", 1)
    words = [clean(Segment(number, body).words()) for number, body in enumerate(bodies, 1)]
    assert texts(parse_story(raw, FRAMES)) == words


def pieces(raw: str) -> list[str]:
    return [piece for tag in raw.split("<")[1:] for piece in [f"<{tag.split('>')[0]}>"]]
