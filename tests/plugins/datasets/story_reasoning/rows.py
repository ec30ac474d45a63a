"""Stories of storyworld as rows of StoryReasoning: its schema, its markup, and the defects of its real rows.

For testing whatever reads that dataset: a `Record` holds a row, the defects put into it, and the clean story.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from vsr_cli.api import Frame, Story
from vsr_plugins.datasets.storyworld.drawing import Illustrator
from vsr_plugins.datasets.storyworld.narration import frame_text
from vsr_plugins.datasets.storyworld.reader import story_id
from vsr_plugins.datasets.storyworld.world import World, draw_world, random_of, scene_at

from .tables import Page, analysis, chain_of_thought

TAGS = {"object": "gdo", "action": "gda", "landmark": "gdl"}

STORY_DEFECTS = (
    "mismatched_close",  # an action's tag is closed by </gdo>
    "unknown_id",  # a tag speaks of char99, who is in no table
    "old_boxes",  # object tags carry bb="x1,y1,x2,y2"
    "repeated_number",  # a segment comes in two halves with the same number
    "missing_number",  # a frame has no segment
    "gdf_tag",  # a segment opens with <gdf imageN>
    "unclosed_segment",  # the last segment has no closer
    "stray_text",  # text stands before the first segment
)
TABLE_DEFECTS = (
    "tables_absent",  # the chain of thought has headings alone
    "pipe_in_cell",  # a cell holds a bare |
    "box_out_of_range",  # a box leaves the image by up to a tenth of its size
)
DEFECTS = (*STORY_DEFECTS, *TABLE_DEFECTS, "frame_count_mismatch")
"""Every defect by name, in the order in which they are put in."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """A row as the hub would hold it, beside the truth."""

    row: Mapping[str, Any]
    """story_id, images (JPEG bytes), frame_count, chain_of_thought, story."""
    defects: tuple[str, ...]
    """The defects in the row, of `DEFECTS`."""
    frames: Mapping[str, int]
    """For each defect of one frame's segment, the index of that frame from 0."""
    story: Story
    """The clean story: what the row would say without its defects."""


@dataclass
class _Segment:
    number: int
    body: str
    opener: str = "gdi"
    closer: str = "\n</gdi>"

    def __str__(self) -> str:
        return f"<{self.opener} image{self.number}>\n{self.body}{self.closer}"


@dataclass
class _Damage:
    """Where the defects of one row go."""

    chance: Random
    frames: dict[str, int] = field(default_factory=dict)

    def pick(self, defect: str, candidates: Sequence[int]) -> int:
        self.frames[defect] = self.chance.choice(candidates)
        return self.frames[defect]


def records(stories: int, *, seed: int = 0, defects: Mapping[str, float] | None = None) -> Iterator[Record]:
    """Yield stories 0 … as records, each with each defect by the chance given for it (none: without any)."""
    illustrator = Illustrator(width=480, height=208)
    for index in range(stories):
        chance = random_of(seed, -1 - index)
        chosen = [name for name in DEFECTS if chance.random() < (defects or {}).get(name, 0.0)]
        yield record(seed, index, defects=chosen, illustrator=illustrator)


def record(seed: int, index: int, *, defects: Sequence[str] = (), illustrator: Illustrator | None = None) -> Record:
    """Return one story with exactly these defects, of `DEFECTS`; the same arguments give the same record."""
    assert set(defects) <= set(DEFECTS), f"unknown defects {sorted(set(defects) - set(DEFECTS))}"
    world = draw_world(seed, index)
    pages = _pages(world, illustrator or Illustrator(width=480, height=208))
    frames = tuple(Frame(image=page.picture.jpeg, text=page.text.text, entities=page.text.entities) for page in pages)
    story = Story(id=story_id(seed, index), frames=frames, analysis=analysis(pages))
    damage = _Damage(chance=random_of(seed, -1_000_000 - index))
    row = {
        "story_id": story.id,
        "images": [page.picture.jpeg for page in pages],
        "frame_count": len(pages) + ("frame_count_mismatch" in defects),
        "chain_of_thought": chain_of_thought(pages, defects=defects),
        "story": _markup(pages, defects, damage=damage),
    }
    return Record(
        row=row,
        defects=tuple(name for name in DEFECTS if name in defects),
        frames=damage.frames,
        story=story,
    )


def write_parquet(
    folder: Path,
    stories: int,
    *,
    seed: int = 0,
    test_share: float = 0.15,
    defects: Mapping[str, float] | None = None,
) -> None:
    """Write stories as the hub lays them out: one parquet file of train and one of test, in `folder/data`.

    The last `test_share` of the stories, one at least, are the test split; there must be two stories or more.
    """
    assert stories >= 2, stories
    first_test = stories - max(1, round(stories * test_share))
    rows = (item.row for item in records(stories, seed=seed, defects=defects))
    write_rows(folder / "data" / "train-00000-of-00001.parquet", islice(rows, first_test))
    write_rows(folder / "data" / "test-00000-of-00001.parquet", rows)


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]], *, row_group: int = 1) -> None:
    """Write rows to one parquet file in the hub's schema, so many at a time."""
    import datasets
    import pyarrow.parquet

    features = datasets.Features(
        {
            "story_id": datasets.Value("string"),
            "images": datasets.List(datasets.Image()),
            "frame_count": datasets.Value("int32"),
            "chain_of_thought": datasets.Value("string"),
            "story": datasets.Value("string"),
        }
    )
    # the schema's metadata says which column to decode as images
    schema = features.arrow_schema
    path.parent.mkdir(parents=True, exist_ok=True)
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        remaining = iter(rows)
        while some := list(islice(remaining, row_group)):
            some = [{**row, "images": [{"bytes": image, "path": None} for image in row["images"]]} for row in some]
            writer.write_table(pyarrow.Table.from_pylist(some, schema=schema))


def _pages(world: World, illustrator: Illustrator) -> list[Page]:
    pages = []
    for t in range(len(world)):
        current = scene_at(world, t)
        picture = illustrator.draw(current, sway=world.sway[t])
        pages.append(Page(scene=current, text=frame_text(world, t), picture=picture))
    return pages


def _markup(pages: Sequence[Page], defects: Sequence[str], *, damage: _Damage) -> str:
    """Write the story's segments, with those of the defects that concern them."""
    count = len(pages)
    missing = damage.pick("missing_number", range(count)) if "missing_number" in defects else -1
    present = [t for t in range(count) if t != missing]
    acting = [t for t in present if any(entity.kind == "action" for entity in pages[t].text.entities)]
    wrong = damage.pick("mismatched_close", acting) if "mismatched_close" in defects else -1
    stranger = damage.pick("unknown_id", present) if "unknown_id" in defects else -1
    segments = [
        _Segment(
            number=t + 1,
            body=_body(
                pages[t],
                wrong_close=t == wrong,
                stranger=t == stranger,
                boxes="old_boxes" in defects,
            ),
        )
        for t in present
    ]
    if "repeated_number" in defects:
        at = present.index(damage.pick("repeated_number", present))
        # every text has at least two sentences, and no tag holds the end of one
        head, tail = _halves(segments[at].body)
        segments[at : at + 1] = [_Segment(number=segments[at].number, body=part) for part in (head, tail)]
    if "gdf_tag" in defects:
        number = damage.pick("gdf_tag", present) + 1
        next(segment for segment in segments if segment.number == number).opener = "gdf"
    if "unclosed_segment" in defects:
        damage.frames["unclosed_segment"] = segments[-1].number - 1
        segments[-1].closer = ""
    stray = "Here is the story that the pictures tell.\n\n" if "stray_text" in defects else ""
    return stray + "\n\n".join(str(segment) for segment in segments)


def _halves(body: str) -> tuple[str, str]:
    """Part a body after its first sentence."""
    cut = min(body.index(end) for end in (". ", "! ", ": ") if end in body)
    return body[: cut + 1], body[cut + 2 :]


def _body(page: Page, *, wrong_close: bool, stranger: bool, boxes: bool) -> str:
    """Write a frame's text with a tag around each entity."""
    text, parts, at = page.text.text, [], 0
    by_id = page.boxes_by_id()
    for entity in page.text.entities:
        tag, ids = TAGS[entity.kind], " ".join(entity.ids)
        close = tag
        if wrong_close and tag == "gda":
            close, wrong_close = "gdo", False
        if stranger and tag == "gdo":
            ids, stranger = "char99", False
        box = by_id.get(entity.ids[0])
        bb = f' bb="{",".join(map(str, box))}"' if boxes and tag == "gdo" and box else ""
        parts += [
            text[at : entity.start],
            f"<{tag} {ids}{bb}>",
            text[entity.start : entity.end],
            f"</{close}>",
        ]
        at = entity.end
    return "".join([*parts, text[at:]])
