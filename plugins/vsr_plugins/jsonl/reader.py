"""Reads stories from JSON lines, one line in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Literal

from pydantic import BaseModel, ValidationError

from vsr_cli.api import Dataset, Frame, Note, Options, Rejected, Story, Survey, VsrError, is_file, leads_outside

MAX_LINE = 16 * 2**20
"""Bytes. Texts and paths of thousands of frames fit; a longer line is skipped, and never held whole."""
SHAPE = '{"id": "a", "frames": [{"image": "a/1.jpg", "text": "..."}]}'
BOM = b"\xef\xbb\xbf"


class _FrameEntry(BaseModel):
    image: str | None = None
    text: str | None = None


class _Line(BaseModel):
    """What stands in a line; other keys are ignored."""

    id: str | int | None = None
    frames: list[_FrameEntry]
    group: str | int | None = None
    split: Literal["train", "validation", "test"] | None = None


def build(options: Options) -> Dataset:
    """Give the dataset. Nothing is read yet."""
    return JsonlDataset()


class JsonlDataset:
    """Stories from JSON lines in UTF-8. The source is the file; paths of pictures are relative to its folder.

    A story without an id is called by the number of its line. Codes of the notes: missing_image, missing_text,
    empty_text, outside_folder; of a rejected line: bad_json_line, line_too_long, no_frames.
    """

    def read(self, source: str | None) -> Iterator[Story | Rejected]:
        """Yield the stories in the file's order. No file outside the file's folder is ever read.

        Raises VsrError if the source is no readable file.
        """
        path = _file(source)
        try:
            path.open("rb").close()
        except OSError as error:
            raise _unreadable(path, error) from error
        return _stories(path)

    def describe(self, source: str | None) -> Mapping[str, str]:
        """Give the file's name. Reads no story."""
        return {"source": _shown(_file(source).name)}

    def survey(self, source: str | None) -> Survey:
        """Count the lines that are not blank: they hold texts and paths, and so are soon gone through."""
        path = _file(source)
        try:
            with path.open("rb") as file:
                return Survey(stories=sum(1 for line in _lines(file) if line is None or line.strip()))
        except OSError as error:
            raise _unreadable(path, error) from error


def _file(source: str | None) -> Path:
    if source is None:
        raise VsrError(f"jsonl: no source is given; name a .jsonl file with one story a line: {SHAPE}")
    path = Path(source)
    if path.is_dir():
        raise VsrError(f"{source}: is a folder; name the .jsonl file in it")
    if not path.exists():
        raise VsrError(f"{source}: no such file; name a .jsonl file with one story a line: {SHAPE}")
    if not path.is_file():
        raise VsrError(f"{source}: is not a regular file; name a .jsonl file")
    return path


def _unreadable(path: Path, error: OSError) -> VsrError:
    return VsrError(f"{_shown(str(path))}: the file cannot be read ({error.strerror}); check its permissions")


def _stories(path: Path) -> Iterator[Story | Rejected]:
    folder = path.parent.resolve()
    try:
        with path.open("rb") as file:
            for number, line in enumerate(_lines(file), start=1):
                if number == 1 and line is not None:
                    line = line.removeprefix(BOM)
                if line is None or line.strip():
                    yield _story(line, folder=folder, where=f"{_shown(str(path))}:{number}", number=number)
    except OSError as error:
        raise _unreadable(path, error) from error


def _lines(file: IO[bytes]) -> Iterator[bytes | None]:
    """Yield each line, or None for one over MAX_LINE."""
    while line := file.readline(MAX_LINE + 1):
        if len(line) <= MAX_LINE:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE)
        yield None


def _story(line: bytes | None, *, folder: Path, where: str, number: int) -> Story | Rejected:
    def rejected(code: str, detail: str) -> Rejected:
        return Rejected(where=where, code=code, detail=detail)

    if line is None:
        what = f"the line is over {MAX_LINE // 2**20} MiB"
        return rejected("line_too_long", f"{what}; write one story a line, and pictures as paths")
    try:
        written = _Line.model_validate_json(line, strict=True)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        at = ".".join(map(str, first["loc"])) or "the line"
        return rejected("bad_json_line", f"{at}: {' '.join(first['msg'].split())}; write {SHAPE} in UTF-8")
    if not written.frames:
        return rejected("no_frames", 'the list "frames" is empty; give each frame an image and a text')
    frames, notes = [], list[Note]()
    for index, entry in enumerate(written.frames):
        image = _image(folder, entry.image, index, notes)
        text = (entry.text or "").replace("\r\n", "\n").replace("\r", "\n").strip()
        if not text:
            code = "missing_text" if entry.text is None else "empty_text"
            notes.append(Note(code=code, detail=f"frame {index + 1} has no text", frame=index))
        frames.append(Frame(image=image, text=text or None))
    return Story(
        id=str(number if written.id in (None, "") else written.id),
        frames=tuple(frames),
        group=None if written.group in (None, "") else str(written.group),
        split=written.split,
        notes=tuple(notes),
    )


def _image(folder: Path, name: str | None, index: int, notes: list[Note]) -> Path | None:
    """Give a frame's picture if it is a file inside the folder; else note why not."""

    def refuse(code: str, what: str) -> None:
        notes.append(Note(code=code, detail=f"frame {index + 1}: {what}", frame=index))

    if not name:
        refuse("missing_image", "no image is named")
        return None
    shown = repr(name[:80])
    if leads_outside(folder, name):
        refuse("outside_folder", f"image {shown} leads out of the file's folder; copy it there, give its relative path")
        return None
    if not is_file(folder / name):
        refuse("missing_image", f"{shown} is no file")
        return None
    return folder / name


def _shown(name: str) -> str:
    """Give a name with "?" for bytes that are no UTF-8, which Python holds as lone surrogates."""
    return name.encode(errors="replace").decode()
