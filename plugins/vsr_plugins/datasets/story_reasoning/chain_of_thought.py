"""Parser of StoryReasoning's Markdown descriptions of images: tables, bounding boxes, narrative phases.

The tables were written by a language model: one may be absent, its columns in another order, a cell may hold a
bare `|` that shifts those after it, and a box may lie outside its image. Certain values are read; others are
None or their row is skipped, with a note.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from vsr_cli.api import Analysis, Box, Character, FrameAnalysis, Note, Phase, Setting, Thing

from .tables import Table, read_row, split_row

CHARACTERS = Table(
    key="Character ID",
    key_form=re.compile(r"char[0-9]+"),
    columns={
        "Character ID": "id",
        "Name": "name",
        "Description": "description",
        "Emotions": "emotions",
        "Actions": "actions",
        "Narrative Function": "narrative_function",
        "Bounding Box": "box",
    },
)
OBJECTS = Table(
    key="Object ID",
    key_form=re.compile(r"(?:obj|lm|bg)[0-9]+"),
    columns={
        "Object ID": "id",
        "Description": "description",
        "Function": "function",
        "Interaction": "interaction",
        "Narrative Function": "narrative_function",
        "Bounding Box": "box",
    },
)
SETTING = Table(
    key="Setting Element",
    key_form=None,
    columns={
        "Setting Element": "element",
        "Description": "description",
        "Mood": "mood",
        "Time": "time",
        "Narrative Function": "narrative_function",
    },
)
TABLES = (CHARACTERS, OBJECTS, SETTING)

SECTIONS = ("character", "object", "setting")
"""How the headings of an image's own tables begin."""

_HEADING = re.compile(r"(#{1,6})\s*(.*)")
_IMAGE = re.compile(r"image\s*([0-9]+)(?!\w)", re.IGNORECASE)
_PHASE = re.compile(r"(?:[-*+]\s+|[0-9]{1,3}[.)]\s+)?\*\*([^*]{1,80})\*\*\s*(.*)")
_ID = re.compile(r"(?<!\w)(?:char|obj|lm|bg)[0-9]+(?!\w)")


@dataclass(frozen=True, kw_only=True)
class ParsedAnalysis:
    """The content of a chain of thought, the ids in its tables, and notes.

    Codes of the notes: missing_tables (not one in the whole story), missing_analysis (no table for one image),
    duplicate_analysis (an image twice: joined in order), analysis_out_of_range (an image that is not there),
    unknown_table, shifted_row (cells held a bare `|`: only what is certain is used), unreadable_row (left out),
    unreadable_box (None), box_out_of_range (clipped to the image, or None where nothing of it is in the image).
    """

    analysis: Analysis
    ids: frozenset[str]
    notes: tuple[Note, ...]


def parse_analysis(raw: str, sizes: Sequence[tuple[int, int] | None]) -> ParsedAnalysis:
    """Read the chain of thought of a story whose images have these (width, height); None: not known.

    The box of an image of unknown size is clipped at its left and top alone. Takes time linear in the length
    of `raw`, and raises nothing, for any string.
    """
    return _Reader(sizes).read(raw)


@dataclass
class _Rows:
    """One image's rows as they come."""

    characters: list[Character] = field(default_factory=list)
    things: list[Thing] = field(default_factory=list)
    settings: list[Setting] = field(default_factory=list)
    tables: int = 0
    headings: int = 0


class _Reader:
    """One pass over the lines of one story's analysis."""

    def __init__(self, sizes: Sequence[tuple[int, int] | None]) -> None:
        self.sizes = sizes
        self.images = [_Rows() for _ in sizes]
        self.number: int | None = None
        """Of the image that is spoken of, from 1; may be out of range. None before the first and in the structure."""
        self.level = 0
        """Of the last image's heading."""
        self.structure = False
        self.table: Table | None = None
        self.header: list[str] = []
        self.in_table = False
        self.ids: set[str] = set()
        self.phases: list[tuple[str, list[str]]] = []
        self.notes: list[Note] = []

    def read(self, raw: str) -> ParsedAnalysis:
        for line in raw.split("\n"):
            self._line(line.strip())
        if self.images and not any(image.tables for image in self.images):
            self._note("missing_tables", "the chain of thought has no table")
        else:
            for number, image in enumerate(self.images, 1):
                if not image.tables:
                    self._note("missing_analysis", f"the chain of thought has no table for image {number}", number)
        frames = tuple(
            FrameAnalysis(
                characters=tuple(image.characters), things=tuple(image.things), settings=tuple(image.settings)
            )
            for image in self.images
        )
        phases = tuple(Phase(name=name, text="\n".join(text).strip()) for name, text in self.phases)
        return ParsedAnalysis(
            analysis=Analysis(frames=frames, phases=tuple(phase for phase in phases if phase.name or phase.text)),
            ids=frozenset(self.ids),
            notes=tuple(self.notes),
        )

    def _note(self, code: str, detail: str, number: int | None = None) -> None:
        inside = number is not None and 1 <= number <= len(self.images)
        self.notes.append(Note(code=code, detail=detail, frame=number - 1 if inside and number else None))

    def _line(self, line: str) -> None:
        heading = _HEADING.fullmatch(line)
        title = heading[2].strip("*_#: \t") if heading else ""
        if heading and (image := _IMAGE.match(title)):
            self.level = len(heading[1])
            # Nine digits exceed any story, and limit the string that int() parses.
            number = image[1].lstrip("0")
            self._open_image(int(number or "0") if len(number) <= 9 else 10**9)
        elif heading and title.casefold().startswith("narrative structure"):
            self.number, self.structure, self.in_table = None, True, False
        elif self.structure:
            self._structure(line, title)
        elif heading:
            self.in_table = False
            if len(heading[1]) <= self.level and not title.casefold().startswith(SECTIONS):
                self.number = None  # the description of that image has ended
        elif line.startswith("|") or ("|" in line and (self.in_table or _kind(split_row(line)))):
            self._table_line(line)
        else:
            self.in_table = False

    def _open_image(self, number: int) -> None:
        self.number, self.structure, self.in_table = number, False, False
        if not 1 <= number <= len(self.images):
            what = f"an analysis of image {number}, in a story of {len(self.images)} images, is left out"
            self._note("analysis_out_of_range", what)
            return
        image = self.images[number - 1]
        image.headings += 1
        if image.headings == 2:
            self._note("duplicate_analysis", f"image {number} is described again: joined in order", number)

    def _structure(self, line: str, title: str) -> None:
        if title:
            self.phases.append((title, []))
        elif bold := _PHASE.fullmatch(line):
            self.phases.append((bold[1].strip(" :\t"), [bold[2].lstrip(":").strip()]))
        else:
            if not self.phases:
                self.phases.append(("", []))
            self.phases[-1][1].append(line)

    def _table_line(self, line: str) -> None:
        cells = split_row(line)
        if not self.in_table:
            self.in_table = True
            self.header = cells
            self.table = _kind(cells)
            if self.table is None:
                self._note("unknown_table", f"a table is headed by {_excerpt(line)!r}: left out", self.number)
            elif self.number is not None and 1 <= self.number <= len(self.images):
                self.images[self.number - 1].tables += 1
            return
        self.ids.update(_ID.findall(line))
        if self.table is None or all(re.fullmatch(r":?-+:?", cell) for cell in cells):
            return
        if self.number is None:
            self._note("unreadable_row", f"{_excerpt(line)!r} stands under no image: left out")
        elif 1 <= self.number <= len(self.images):
            self._row(self.table, line, cells, self.number)

    def _row(self, table: Table, line: str, cells: list[str], number: int) -> None:
        row = read_row(table, self.header, cells)
        if row is None:
            self._note("unreadable_row", f"{_excerpt(line)!r} does not fit its table: left out", number)
            return
        if row.uncertain is not None:
            kept = f"{', '.join(row.uncertain)} not known" if row.uncertain else "put together again"
            self._note("shifted_row", f"{_excerpt(line)!r} has more cells than its header: {kept}", number)
        values = row.values
        image = self.images[number - 1]
        if table is SETTING:
            image.settings.append(Setting(**values, element=row.key))
            return
        box = self._box(row.box, number, row.key)
        if table is CHARACTERS:
            image.characters.append(Character(**values, id=row.key, box=box))
        else:
            image.things.append(Thing(**values, id=row.key, box=box))

    def _box(self, box: Box | str | None, number: int, whose: str) -> Box | None:
        if box is None:
            return None
        if isinstance(box, str) or box[0] >= box[2] or box[1] >= box[3]:
            self._note("unreadable_box", f"the box of {whose} is {_excerpt(str(box))!r}", number)
            return None
        size = self.sizes[number - 1]
        width, height = size or (10**9, 10**9)
        left, top, right, bottom = (min(max(at, 0), limit) for at, limit in zip(box, (width, height) * 2, strict=True))
        clipped = (left, top, right, bottom)
        if clipped == box:
            return box
        where = f" {width}x{height}" if size else ""
        kept = clipped if left < right and top < bottom else None
        self._note(
            "box_out_of_range", f"the box of {whose} is {box}, and the image{where}: {kept or 'left out'}", number
        )
        return kept


def _kind(header: Sequence[str]) -> Table | None:
    return next((table for table in TABLES if table.is_headed_by(header)), None)


def _excerpt(text: str) -> str:
    text = " ".join(text[:200].split())
    return text if len(text) <= 60 else text[:59] + "…"
