"""The dataset `hf`: stories from rows of a dataset of the Hub, or of local files, whose columns the options name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from vsr_cli.api import (
    Dataset,
    Frame,
    NoFile,
    Note,
    Rejected,
    Story,
    Survey,
    VsrError,
    find_file,
    natural,
    own_name,
    tidy_text,
)

from . import HubOptions
from .hf_files import FILES, Location, fetched_location, local_location, open_splits, readable, streamed_location
from .hub_source import HubSource

SPLITS = ("train", "validation", "test")
MAX_FRAMES = 10_000
"""Of a story in layout frames, which is held in memory: far more mean that another column names the stories."""

Row = Mapping[str, Any]


def build(options: HubOptions) -> Dataset:
    """Return the dataset. Nothing is fetched or read yet. Raises VsrError if the options do not go together."""
    if options.layout == "frames" and options.story is None:
        raise VsrError("hf: layout frames needs the column of the story's id; name it with --set dataset.story=COLUMN")
    if options.layout == "stories" and options.order is not None:
        raise VsrError("hf: layout stories takes no order, its lists are in order; use --set dataset.layout=frames")
    return HubDataset(options)


class HubDataset:
    """Stories from a dataset of the hub (fetched once into the Hugging Face cache, or streamed), a folder or a file.

    All splits are read. Splits called train, validation or test stay; of others, and where train is the only one
    (the name that data without splits goes by), vsr splits the stories. Images are bytes, or paths inside the
    source's folder. Codes of the notes: missing_image, missing_text, outside_folder, length_mismatch,
    duplicate_order; of what is rejected: missing_story_id, no_frames, not_lists, two_groups, missing_order,
    scattered_story.

    In layout frames a story's rows must be neighbours, so that one story is held at a time: rows of a story that
    come again after another's are rejected as scattered_story. (Its first rows have been yielded by then.)
    """

    def __init__(self, options: HubOptions) -> None:
        self.options = options
        self._sources: dict[str, HubSource] = {}
        """By Hub id: the first answer about a branch is reused, as the branch may change."""

    def read(self, source: str | None) -> Iterator[Story | Rejected]:
        """Yield the stories, train before validation before test before other splits, in the files' order.

        No file outside the source's folder is ever read. Raises VsrError if the hub or the files cannot be read, or
        lack a column.
        """
        options = self.options
        location = self._local(source) or self._from_hub(str(source))
        named = {key: getattr(options, key) for key in ("images", "texts", "story", "order", "group")}
        columns = {option: column for option, column in named.items() if column is not None}
        splits = open_splits(location, columns, config=options.config)
        order = sorted(splits, key=lambda split: SPLITS.index(split) if split in SPLITS else len(SPLITS))
        return self._stories(location, {split: splits[split] for split in order})

    def describe(self, source: str | None) -> Mapping[str, str]:
        """Return source and revision (the commit, once known), and the configuration if one is chosen.

        What is still to come by the stream has its amount as `stream`. Reads no story and asks no hub.
        """
        options = self.options
        if (location := self._local(source)) is not None:
            facts = {"source": own_name(location.path), "revision": "local files"}
        else:
            commit = self._hub(str(source)).known_commit()
            facts = {"source": str(source), "revision": commit or options.revision or "main"}
            if options.streaming and commit is None:
                facts["stream"] = "an unknown amount"
        return facts | ({"config": options.config} if options.config else {})

    def survey(self, source: str | None) -> Survey:
        """Return the commit that will be read, of a dataset of the hub."""
        if self._local(source) is not None:
            return Survey()
        return Survey(state=self._hub(str(source)).resolve_commit())

    def _local(self, source: str | None) -> Location | None:
        return local_location(source, streaming=self.options.streaming)

    def _hub(self, hub_id: str) -> HubSource:
        if hub_id not in self._sources:
            self._sources[hub_id] = HubSource(
                hub_id,
                revision=self.options.revision,
                patterns=FILES,
                instead="or name a local folder of its files",
                streaming=self.options.streaming,
            )
        return self._sources[hub_id]

    def _from_hub(self, hub_id: str) -> Location:
        hub = self._hub(hub_id)
        return streamed_location(hub.stream()) if self.options.streaming else fetched_location(hub.download())

    def _stories(self, location: Location, splits: Mapping[str, Iterable[Row]]) -> Iterator[Story | Rejected]:
        make = _from_lists if self.options.layout == "stories" else _from_frames
        for name, rows in splits.items():
            split = name if name in SPLITS and list(splits) != ["train"] else None
            with readable(location):
                yield from make(rows, self.options, location=location, name=name, split=split)


def _from_lists(
    rows: Iterable[Row], options: HubOptions, *, location: Location, name: str, split: str | None
) -> Iterator[Story | Rejected]:
    for number, row in enumerate(rows):
        where = f"{name} row {number}"
        story = f"{name}/{number}" if options.story is None else _text(row[options.story])
        if not story:
            yield Rejected(where=where, code="missing_story_id", detail=f"nothing in the column {options.story}")
            continue
        images, texts = row[options.images], row[options.texts]
        unlisted = [
            column
            for column, cell in ((options.images, images), (options.texts, texts))
            if not isinstance(cell, list | None)
        ]
        if unlisted:
            detail = f"{' and '.join(unlisted)} hold no list; name other columns, or use --set dataset.layout=frames"
            yield Rejected(where=where, code="not_lists", detail=detail)
            continue
        images, texts = images or [], texts or []
        notes: list[Note] = []
        if len(images) != len(texts):
            notes.append(Note(code="length_mismatch", detail=f"{len(images)} images and {len(texts)} texts"))
        length = max(len(images), len(texts))
        if not length:
            yield Rejected(where=where, code="no_frames", detail="the row has neither images nor texts")
            continue
        padded = [[*cells, *[None] * (length - len(cells))] for cells in (images, texts)]
        frames = tuple(
            _frame(image, text, location=location, index=index, notes=notes)
            for index, (image, text) in enumerate(zip(*padded, strict=True))
        )
        group = _text(row[options.group]) if options.group is not None else None
        yield Story(id=story, frames=frames, group=group or None, split=split, notes=tuple(notes))


def _from_frames(
    rows: Iterable[Row], options: HubOptions, *, location: Location, name: str, split: str | None
) -> Iterator[Story | Rejected]:
    column = options.story
    assert column is not None  # checked by `build`
    seen: set[str] = set()
    for story, run in groupby(rows, key=lambda row: _text(row[column])):
        # Rows of no story, or of one that is over, are skipped.
        if not story:
            detail = f"{sum(1 for _ in run)} rows have nothing in the column {column}"
            yield Rejected(where=f"{name} after story {len(seen)}", code="missing_story_id", detail=detail)
        elif story in seen:
            detail = f"{sum(1 for _ in run)} of its rows come after those of others; sort the rows by {column}"
            yield Rejected(where=f"{name} story {story}", code="scattered_story", detail=detail)
        else:
            seen.add(story)
            held = list(islice(run, MAX_FRAMES + 1))
            if len(held) > MAX_FRAMES:
                what = f"story {story[:80]} has over {MAX_FRAMES} rows"
                raise VsrError(f"{location}: {what}; is {column!r} the column of the story's id?")
            yield _gathered(story, held, options, location=location, name=name, split=split)


def _gathered(
    story: str, rows: Sequence[Row], options: HubOptions, *, location: Location, name: str, split: str | None
) -> Story | Rejected:
    where = f"{name} story {story}"
    groups = {_text(row[options.group]) for row in rows} - {""} if options.group is not None else set()
    if len(groups) > 1:
        return Rejected(where=where, code="two_groups", detail=f"its rows name {len(groups)} groups; leave one")
    notes: list[Note] = []
    if options.order is not None:
        orders = [_text(row[options.order]) for row in rows]
        if "" in orders:
            return Rejected(where=where, code="missing_order", detail=f"a row has nothing in {options.order}")
        if len(set(orders)) < len(orders):
            notes.append(
                Note(
                    code="duplicate_order",
                    detail="two rows have the same position: they stay in the order of the files",
                )
            )
        rows = _in_order(rows, orders)
    frames = tuple(
        _frame(row[options.images], row[options.texts], location=location, index=index, notes=notes)
        for index, row in enumerate(rows)
    )
    return Story(id=story, frames=frames, group=next(iter(groups), None), split=split, notes=tuple(notes))


def _in_order(rows: Sequence[Row], orders: Sequence[str]) -> list[Row]:
    """Sort rows by their orders: as numbers if all are, else naturally ("p2" before "p10")."""
    try:
        numbers = [float(order) for order in orders]
    except ValueError:
        numbers = [math.nan]
    keys: Sequence[Any] = numbers if all(map(math.isfinite, numbers)) else [natural(order) for order in orders]
    return [rows[index] for index in sorted(range(len(rows)), key=keys.__getitem__)]


def _text(cell: object) -> str:
    """Return a cell as text; "" for one that is empty, or not a number (as a table's reader holds an empty cell)."""
    return "" if cell is None or (isinstance(cell, float) and math.isnan(cell)) else str(cell).strip()


def _frame(image: object, text: object, *, location: Location, index: int, notes: list[Note]) -> Frame:
    words = tidy_text(text) if isinstance(text, str) else ""
    if not words:
        notes.append(Note(code="missing_text", detail=f"frame {index + 1} has no text", frame=index))
    return Frame(image=_image(image, location=location, index=index, notes=notes), text=words or None)


def _image(cell: object, *, location: Location, index: int, notes: list[Note]) -> Path | bytes | None:
    """Return a cell's image: its bytes, or the file that it names inside the source's folder; else note why not.

    Of a stream, a file that is named is read from the hub.
    """

    def refuse(code: str, what: str) -> None:
        notes.append(Note(code=code, detail=f"frame {index + 1}: {what}", frame=index))

    if isinstance(cell, Mapping):
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, bytes) and cell:
        return cell
    if not isinstance(cell, str) or not cell:
        refuse("missing_image", "holds neither bytes nor the path of an image")
        return None
    try:
        # The library gives a folder's own images as absolute paths: what counts is where a path ends.
        path = location.file(cell)
        if not path.resolve().is_relative_to(location.bounds):
            refuse("outside_folder", f"{cell[:80]!r} leads out of the source's folder; copy the file into it")
            return None
        if path.is_file():
            return path if location.stream is None else location.stream.read(location.name(path))
    except (OSError, RuntimeError, ValueError):
        pass  # a loop of links, a name too long, or one with a NUL
    found = find_file(location.bounds, cell) if location.stream is None else NoFile("")
    if isinstance(found, Path):
        return found
    refuse("missing_image", found.why or f"{cell[:80]!r} is no file of the source's folder")
    return None
