"""Parser of the tags of a StoryReasoning story: clean text and entity spans of each frame.

The markup looks like XML and is not: attributes are bare, roots are many, and about one action tag in sixteen
is closed by another tag. So it is scanned, not parsed: any input results in text, with notes.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

from vsr_cli.api import Entity, Note

KINDS = {"o": "object", "a": "action", "l": "landmark"}
SEGMENT = "if"
"""The letters of segment tags: `gdi`, and `gdf` as a misspelling of it."""

_TAG = re.compile(r"</?gd([ifoal])\b([^>]*)>")
_SPACE = re.compile(r"\s+")
_BOX = re.compile(r"""\bbb\s*=\s*(?:"[^"]*"|'[^']*'|\S*)""")
_SEPARATOR = re.compile(r"[\s,]+")
_ID = re.compile(r"(?:char|obj|lm|bg)[0-9]+")
_SEGMENT_NUMBER = re.compile(r"image([0-9]+)")


@dataclass(frozen=True, kw_only=True)
class ParsedStory:
    """The content of a story's markup: each frame's clean text (None: missing) with its entities, and notes.

    Codes of the notes: mismatched_close, unclosed_entity, empty_entity, duplicate_segment, missing_segment,
    empty_text, text_outside_segment, unclosed_segment, segment_out_of_range, old_form, unknown_attribute.
    """

    frames: tuple[tuple[str | None, tuple[Entity, ...]], ...]
    notes: tuple[Note, ...]


@dataclass
class _Span:
    letter: str
    ids: tuple[str, ...]
    start: int
    end: int = -1


@dataclass
class _Segment:
    """A frame's text while it is read: whitespace is collapsed at once, so that positions stay valid."""

    parts: list[str] = field(default_factory=list)
    length: int = 0
    ends_in_space: bool = True
    """True at first too: a text does not begin with a space."""
    spans: list[_Span] = field(default_factory=list)

    def add(self, raw: str) -> None:
        text = _SPACE.sub(" ", raw)
        if self.ends_in_space and text.startswith(" "):
            text = text[1:]
        if text:
            self.parts.append(text)
            self.length += len(text)
            self.ends_in_space = text.endswith(" ")


def parse_story(raw: str, frames: int) -> ParsedStory:
    """Split the markup of a story into the texts of its `frames` frames.

    A segment runs from `<gdi imageN>` to the next segment tag or the end of the string; text outside every
    segment is dropped and reported. One closing `</gdi>` does not end it: the one that stands where an open
    entity should be closed, with another `</gdi>` still to come before the next segment. There it is the
    entity's wrong closer, and the words after it are used.

    An entity ends at the next closing tag of whatever kind, and so do all that are open with it. Spans are
    indices into the clean text (tags deleted, whitespace collapsed, NFC, stripped), without the spaces at
    their edges; one that begins or ends inside a character that NFC composes takes in the whole character.

    Takes time linear in the length of `raw`, and raises nothing, for any string.
    """
    return _Scanner(frames).scan(raw)


class _Scanner:
    """One pass over one story."""

    def __init__(self, frames: int) -> None:
        assert frames >= 0
        self.frames = frames
        self.notes: list[Note] = []
        self.segments: dict[int, _Segment] = {}
        self.number: int | None = None
        """Of the open segment, from 1; may be out of range. None outside every segment."""
        self.opened_by = ""
        self.open: list[_Span] = []

    def scan(self, raw: str) -> ParsedStory:
        # Past the last ">" no tag can match, yet each "<gd" there would be searched to the end.
        tags = list(_TAG.finditer(raw, 0, raw.rfind(">") + 1))
        closes_later = _closes_later(tags)
        position = 0
        for tag, more in zip(tags, closes_later, strict=True):
            self._text(raw[position : tag.start()])
            position = tag.end()
            letter, attributes = tag[1], tag[2]
            if tag[0].startswith("</"):
                self._close(letter, ends_segment=letter in SEGMENT and not (self.open and more))
            elif letter in SEGMENT:
                self._open_segment(letter, attributes)
            elif segment := self._segment():
                span = _Span(letter, self._ids(attributes), segment.length)
                self.open.append(span)
                segment.spans.append(span)
        self._text(raw[position:])
        self._leave_unclosed()
        return self._result()

    def _note(self, code: str, detail: str, number: int | None = None) -> None:
        inside = number is not None and 1 <= number <= self.frames
        self.notes.append(Note(code=code, detail=detail, frame=number - 1 if inside and number else None))

    def _segment(self) -> _Segment | None:
        return self.segments.get(self.number) if self.number is not None else None

    def _text(self, text: str) -> None:
        if segment := self._segment():
            segment.add(text)
        elif self.number is None and text and not text.isspace():
            self._note("text_outside_segment", f"{_excerpt(text)!r} is in no segment and is left out")

    def _open_segment(self, letter: str, attributes: str) -> None:
        self._leave_unclosed()
        tokens = attributes.split()
        numbers = [match[1].lstrip("0") or "0" for token in tokens if (match := _SEGMENT_NUMBER.fullmatch(token))]
        for token in [token for token in tokens if not _SEGMENT_NUMBER.fullmatch(token)] + numbers[1:]:
            self._note("unknown_attribute", f"segment tag has {_excerpt(token)!r}")
        if not numbers:
            self._note("unknown_attribute", "segment tag has no image number: its text belongs to no frame")
            return
        # Nine digits exceed any story, and limit the string that int() parses.
        number = int(numbers[0]) if len(numbers[0]) <= 9 else 10**9
        self.number, self.opened_by = number, letter
        if not 1 <= number <= self.frames:
            what = f"segment {_excerpt(numbers[0])} in a story of {self.frames} images is left out"
            self._note("segment_out_of_range", what)
        elif segment := self.segments.get(number):
            self._note("duplicate_segment", f"segment {number} occurs again: joined in order", number)
            segment.add(" ")
        else:
            self.segments[number] = _Segment()

    def _ids(self, attributes: str) -> tuple[str, ...]:
        rest = _BOX.sub(" ", attributes)
        if rest != attributes:
            self._note("old_form", "entity tag carries a box (bb=): left out", self.number)
        tokens = [token for token in _SEPARATOR.split(rest) if token]
        ids = tuple(token for token in tokens if _ID.fullmatch(token))
        for token in tokens:
            if not _ID.fullmatch(token):
                self._note("unknown_attribute", f"entity tag has {_excerpt(token)!r}", self.number)
        if not ids:
            self._note("unknown_attribute", "entity tag names nothing", self.number)
        return ids

    def _close(self, letter: str, *, ends_segment: bool) -> None:
        for span in self.open:
            if span.letter != letter:
                self._note("mismatched_close", f"<gd{span.letter}> is closed by </gd{letter}>", self.number)
        stray = not self.open and letter not in SEGMENT and self._segment() is not None
        if stray or (letter in SEGMENT and self.number is None):
            self._note("mismatched_close", f"</gd{letter}> closes nothing", self.number)
        self._end_spans()
        if ends_segment:
            if self.number is not None and self.opened_by != letter:
                what = f"<gd{self.opened_by}> is closed by </gd{letter}>"
                self._note("mismatched_close", what, self.number)
            self.number = None

    def _leave_unclosed(self) -> None:
        for span in self.open:
            self._note("unclosed_entity", f"<gd{span.letter}> runs to the segment's end", self.number)
        self._end_spans()
        if self.number is not None:
            self._note("unclosed_segment", f"segment {self.number} has no closing tag", self.number)
        self.number = None

    def _end_spans(self) -> None:
        if segment := self._segment():
            for span in self.open:
                span.end = segment.length
        self.open = []

    def _result(self) -> ParsedStory:
        frames: list[tuple[str | None, tuple[Entity, ...]]] = []
        for number in range(1, self.frames + 1):
            segment = self.segments.get(number)
            text, entities, empty = _finish(segment) if segment else ("", (), 0)
            if segment is None:
                self._note("missing_segment", f"no segment {number}", number)
            elif not text:
                self._note("empty_text", f"segment {number} has no text", number)
            elif empty:
                self._note("empty_entity", f"{empty} entity tags hold no text: left out", number)
            frames.append((text or None, entities))
        return ParsedStory(frames=tuple(frames), notes=tuple(self.notes))


def _closes_later(tags: list[re.Match[str]]) -> list[bool]:
    """For each tag, whether a segment's closing tag follows it before the next segment opens."""
    later, answers = False, []
    for tag in reversed(tags):
        answers.append(later)
        if tag[1] in SEGMENT:
            later = tag[0].startswith("</")
    return answers[::-1]


def _finish(segment: _Segment) -> tuple[str, tuple[Entity, ...], int]:
    """Return a segment's clean text, its entities, and how many entities had no text."""
    text = "".join(segment.parts).removesuffix(" ")
    trimmed = [(span, *_trim(text, span.start, min(span.end, len(text)))) for span in segment.spans]
    kept = [(span, start, end) for span, start, end in trimmed if start < end]
    clean, moved = _normalise(text, sorted({at for _, start, end in kept for at in (start, end)}))
    entities = tuple(
        Entity(kind=KINDS[span.letter], ids=span.ids, start=moved[start][0], end=moved[end][1])
        for span, start, end in kept
    )
    return clean, entities, len(trimmed) - len(kept)


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    # White space is collapsed: there is one space at each edge at most.
    start += start < end and text[start] == " "
    end -= start < end and text[end - 1] == " "
    return start, end


def _normalise(text: str, positions: list[int]) -> tuple[str, dict[int, tuple[int, int]]]:
    """NFC a text, and say where its (sorted) positions went.

    NFC changes lengths, and is not the sum of the NFC of pieces unless each piece begins with a character
    that joins nothing before it. So the text is cut before such characters alone. A position between two cuts
    gives the new indices of both: where a span that starts there starts, and where one that ends there ends.
    A position at a cut gives one index twice.
    """
    edges: dict[int, tuple[int, int]] = {}
    low = high = 0
    for at in positions:
        if at >= high:  # else it lies in the same composed character as the position before
            low = high = at
            while 0 < low < len(text) and _joins(text[low]):
                low -= 1
            while high < len(text) and _joins(text[high]):
                high += 1
        edges[at] = (low, high)
    pieces: list[str] = []
    index = {0: 0}
    done = length = 0
    for cut in sorted({edge for pair in edges.values() for edge in pair} | {len(text)}):
        pieces.append(unicodedata.normalize("NFC", text[done:cut]))
        length += len(pieces[-1])
        index[cut], done = length, cut
    return "".join(pieces), {at: (index[low], index[high]) for at, (low, high) in edges.items()}


def _joins(character: str) -> bool:
    """Return whether NFC may compose a character with, or reorder it among, those before it.

    By Unicode's NFC_Quick_Check these are marks, the vowels and finals of Hangul syllables, and vowel signs
    of Kirat Rai; a mark that never composes is counted in, which only widens a span by what is drawn on it.
    """
    if character < "\u0300":
        return False
    hangul = "\u1161" <= character <= "\u1175" or "\u11a8" <= character <= "\u11c2"
    kirat_rai = "\U00016d63" <= character <= "\U00016d6a"
    return hangul or kirat_rai or unicodedata.category(character).startswith("M")


def _excerpt(text: str) -> str:
    text = " ".join(text[:200].split())
    return text if len(text) <= 40 else text[:39] + "…"
