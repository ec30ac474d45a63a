"""The dataset `jsonl`: stories from a file of JSON lines, next to their images."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from vsr_cli.api import (
    Dataset,
    Frame,
    NoFile,
    Note,
    Options,
    Rejected,
    Story,
    Survey,
    VsrError,
    encoding_of,
    find_file,
    nfc,
    open_bytes,
    own_name,
    refuse_unreadable,
    shown,
    source_file,
    tidy_text,
)

FIRST = 16 * 2**20
"""Bytes read to decide whether the first line is a story."""
REMEDY = "write one story per line, in UTF-8"


def entries_of(path: Path, *, most: int) -> list[Any] | None:
    """Return the stories of a file that is an array, an object with "stories", or objects over several lines.

    None where lines are to be read one by one. Raises VsrError if such a file is larger than `most` bytes, or is in
    another encoding than UTF-8 and holds something else than stories.
    """
    with open_bytes(path) as file:
        start = file.read(4)
        encoding = encoding_of(start)
        first = (start + file.readline(FIRST)).decode(encoding, errors="replace").lstrip()
        if encoding.startswith("utf-8") and not _continues(first):
            return None
    with open_bytes(path) as file:
        raw = file.read(most + 1)
    if len(raw) > most:
        if first.startswith("[") or not encoding.startswith("utf-8"):
            raise VsrError(f"{shown(str(path))}: exceeds {most // 2**20} MiB as one JSON value; {REMEDY}")
        return None
    try:
        entries = _entries(raw.decode(encoding))
    except (ValueError, RecursionError) as error:
        if not encoding.startswith("utf-8"):
            raise VsrError(f"{shown(str(path))}: is in {encoding.upper()} and not JSON ({error}); {REMEDY}") from error
        return None
    return entries if all(isinstance(entry, dict) for entry in entries) else None


def _continues(first: str) -> bool:
    """Return whether a JSON value in the first line continues in other lines, or is an array."""
    if first.startswith("["):
        return True
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return True
    return False


def _entries(text: str) -> list[Any]:
    """Return the JSON values of a text; if it is one array or an object with "stories", the values within."""
    decoder = json.JSONDecoder()
    values, at = [], _skip(text, 0)
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        values.append(value)
        at = _skip(text, at)
    if len(values) == 1 and isinstance(values[0], list):
        return values[0]
    if len(values) == 1 and isinstance(values[0], dict) and isinstance(values[0].get("stories"), list):
        return list(values[0]["stories"])
    return values


def _skip(text: str, at: int) -> int:
    """Return the index of the next character other than whitespace."""
    found = re.compile(r"\s*").match(text, at)
    assert found
    return found.end()


MAX_LINE = 16 * 2**20
"""Bytes. Enough for texts and paths of thousands of frames; a longer line is skipped."""
MAX_WHOLE = 256 * 2**20
"""Bytes of a file that is one JSON value, which is held in memory."""
SHAPE = '{"id": "a", "frames": [{"image": "a/1.jpg", "text": "..."}]}'
BOM = b"\xef\xbb\xbf"


class _FrameEntry(BaseModel):
    model_config = ConfigDict(extra="allow")  # so that a message can name what stands in place of a text

    image: str | None = None
    text: str | None = None


class _Line(BaseModel):
    """The content of a line; other keys are ignored."""

    id: str | int | float | None = None
    frames: list[_FrameEntry]
    group: str | int | None = None
    split: Literal["train", "validation", "test"] | None = None


def build(options: Options) -> Dataset:
    """Return the dataset. Nothing is read yet."""
    return JsonlDataset()


class JsonlDataset:
    """Stories from JSON lines, or from a JSON array. The source is the file; paths are relative to its folder.

    The file is in UTF-8, or in UTF-16 with a mark, and may be compressed (.gz). The id of a story without one is the
    number of its line or entry. Codes of the notes: missing_image, missing_text, empty_text, outside_folder; of
    a rejected line: bad_json_line, line_too_long, no_frames.
    """

    def read(self, source: str | None) -> Iterator[Story | Rejected]:
        """Yield the stories in the file's order. No file outside the file's folder is ever read.

        Raises VsrError if the source is no readable file.
        """
        return _stories(_file(source))

    def describe(self, source: str | None) -> Mapping[str, str]:
        """Return the file's name. Reads no story."""
        return {"source": own_name(_file(source))}

    def survey(self, source: str | None) -> Survey:
        """Count the lines that are not blank: they hold texts and paths, which is fast."""
        path = _file(source)
        with refuse_unreadable(path):
            if (entries := entries_of(path, most=MAX_WHOLE)) is not None:
                return Survey(stories=len(entries))
            with open_bytes(path) as file:
                return Survey(stories=sum(1 for line in _lines(file) if line is None or line.strip()))


def _file(source: str | None) -> Path:
    return source_file(source, dataset="jsonl", kind=".jsonl", content=f"one story per line: {SHAPE}")


def _stories(path: Path) -> Iterator[Story | Rejected]:
    with refuse_unreadable(path):
        entries = entries_of(path, most=MAX_WHOLE)
    return _of_lines(path) if entries is None else _of_entries(path, entries)


def _of_entries(path: Path, entries: Sequence[Any]) -> Iterator[Story | Rejected]:
    folder = path.parent.resolve()
    for number, entry in enumerate(entries, start=1):
        where = f"{shown(str(path))}: entry {number}"
        read = partial(_Line.model_validate, entry, strict=True)
        yield _story(read, folder=folder, where=where, number=number)


def _of_lines(path: Path) -> Iterator[Story | Rejected]:
    folder = path.parent.resolve()
    with refuse_unreadable(path), open_bytes(path) as file:
        for number, line in enumerate(_lines(file), start=1):
            where = f"{shown(str(path))}:{number}"
            if line is None:
                what = f"the line is over {MAX_LINE // 2**20} MiB"
                detail = f"{what}; write one story per line, and images as paths"
                yield Rejected(where=where, code="line_too_long", detail=detail)
                continue
            line = line.removeprefix(BOM) if number == 1 else line
            if line.strip():
                read = partial(_Line.model_validate_json, line, strict=True)
                yield _story(read, folder=folder, where=where, number=number)


def _lines(file: IO[bytes]) -> Iterator[bytes | None]:
    """Yield each line, or None for one over MAX_LINE."""
    while line := file.readline(MAX_LINE + 1):
        if len(line) <= MAX_LINE:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE)
        yield None


def _story(read: Callable[[], _Line], *, folder: Path, where: str, number: int) -> Story | Rejected:
    def rejected(code: str, detail: str) -> Rejected:
        return Rejected(where=where, code=code, detail=detail)

    try:
        written = read()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        at = ".".join(map(str, first["loc"])) or "the line"
        return rejected("bad_json_line", f"{at}: {' '.join(first['msg'].split())}; write {SHAPE} in UTF-8")
    if not written.frames:
        return rejected("no_frames", 'the list "frames" is empty; add frames with an image and a text')
    frames, notes = [], list[Note]()
    for index, entry in enumerate(written.frames):
        image = _image(folder, entry.image, index, notes)
        text = tidy_text(entry.text)
        if not text:
            code = "missing_text" if entry.text is None else "empty_text"
            others = ", ".join(repr(shown(key[:40])) for key in sorted(entry.model_extra or {})[:5])
            hint = f' (it has {others}; the key of a text is "text")' if others and entry.text is None else ""
            notes.append(Note(code=code, detail=f"frame {index + 1} has no text{hint}", frame=index))
        frames.append(Frame(image=image, text=text or None))
    return Story(
        id=nfc(str(number if written.id in (None, "") else written.id)),
        frames=tuple(frames),
        group=None if written.group in (None, "") else nfc(str(written.group)),
        split=written.split,
        notes=tuple(notes),
    )


def _image(folder: Path, name: str | None, index: int, notes: list[Note]) -> Path | None:
    """Return a frame's image if it is a file inside the folder; else note why not."""
    found = find_file(folder, name) if name else NoFile("no image is named")
    if isinstance(found, Path):
        return found
    code = "outside_folder" if found.outside else "missing_image"
    notes.append(Note(code=code, detail=f"frame {index + 1}: {found.why}", frame=index))
    return None
