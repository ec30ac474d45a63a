"""Reads one story folder: pairs of files with one stem, or a story.json."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, ValidationError

from vsr_cli.api import Frame, Note, Rejected, Story, is_file, leads_outside

STORY_FILE = "story.json"
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
TEXT_SUFFIXES = (".txt",)


class _FrameEntry(BaseModel):
    image: str | None = None
    text: str | None = None


class _StoryFile(BaseModel):
    """What stands in a story.json; other keys are ignored."""

    id: str | None = None
    frames: list[_FrameEntry]


def shown(name: str) -> str:
    """Give a file's name with "?" for bytes that are no UTF-8, which Python holds as lone surrogates."""
    return name.encode(errors="replace").decode()


def natural(name: str) -> tuple[list[str | int], str]:
    """Give a sort key that counts: "2" before "10". Names that differ only in case or zeros stay apart."""
    # Text and digits take turns, text first, so a number never meets a text.
    parts = re.split(r"([0-9]+)", name.casefold())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def holds_pair(folder: Path) -> bool:
    """Say whether a folder is a story: it holds a story.json, or an image and a text with one stem."""
    images, texts = _by_stem(folder, IMAGE_SUFFIXES), _by_stem(folder, TEXT_SUFFIXES)
    return (folder / STORY_FILE).is_file() or bool(images.keys() & texts.keys())


def holds_story_files(folder: Path) -> bool:
    """Say whether a folder holds anything that could be part of a story."""
    return (folder / STORY_FILE).is_file() or any(_by_stem(folder, IMAGE_SUFFIXES + TEXT_SUFFIXES))


def read_story(folder: Path) -> Story | Rejected:
    """Read one story. A frame of which one half is missing or unreadable keeps that half None, with a note.

    No file outside the folder is ever read, whatever a story.json or a link says. Codes of the notes:
    missing_image, missing_text, empty_text, wrong_encoding, unreadable_text, duplicate_image, duplicate_text,
    outside_story; of a rejected story: no_pairs, bad_story_json, outside_story, unreadable_folder.
    """
    try:
        if (folder / STORY_FILE).is_file():
            return _from_json(folder)
        return _from_pairs(folder)
    except OSError as error:
        detail = f"the folder cannot be read ({error.strerror}); check its permissions"
        return Rejected(where=shown(str(folder)), code="unreadable_folder", detail=detail)


def _by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, list[Path]]:
    """Give the files of some kinds by stem; those of one stem in the order of `suffixes`."""
    files = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and not path.is_dir()
    ]
    found: dict[str, list[Path]] = {}
    for path in sorted(files, key=lambda path: (suffixes.index(path.suffix.lower()), path.name)):
        found.setdefault(path.stem, []).append(path)
    return found


def _from_pairs(folder: Path) -> Story | Rejected:
    images, texts = _by_stem(folder, IMAGE_SUFFIXES), _by_stem(folder, TEXT_SUFFIXES)
    if not images.keys() & texts.keys():
        detail = "holds no image and text with one stem; name them alike, e.g. 01.jpg and 01.txt"
        return Rejected(where=shown(str(folder)), code="no_pairs", detail=detail)
    frames, notes = [], []
    for index, stem in enumerate(sorted(images.keys() | texts.keys(), key=natural)):
        image, text = None, None
        for kind, files in (("image", images.get(stem, [])), ("text", texts.get(stem, []))):
            if not files:
                detail = f"{shown(stem)} has no {kind}"
                notes.append(Note(code=f"missing_{kind}", detail=detail, frame=index))
            elif len(files) > 1:
                names = ", ".join(shown(path.name) for path in files)
                detail = f"one stem names {names}: the first is taken"
                notes.append(Note(code=f"duplicate_{kind}", detail=detail, frame=index))
            if files and leads_outside(folder, files[0].name):
                detail = f"{shown(files[0].name)} is a link out of the story folder; copy the file into it"
                notes.append(Note(code="outside_story", detail=detail, frame=index))
            elif files and kind == "image":
                image = files[0]
            elif files:
                text = _read_text(files[0], index, notes)
        frames.append(Frame(image=image, text=text))
    return Story(id=shown(folder.resolve().name), frames=tuple(frames), notes=tuple(notes))


def _from_json(folder: Path) -> Story | Rejected:
    path = folder / STORY_FILE

    def rejected(code: str, detail: str) -> Rejected:
        return Rejected(where=shown(str(path)), code=code, detail=detail)

    if leads_outside(folder, STORY_FILE):
        return rejected("outside_story", f"{STORY_FILE} is a link out of the story folder; copy the file into it")
    try:
        written = _StoryFile.model_validate_json(path.read_bytes().removeprefix(b"\xef\xbb\xbf"), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"])) or "the file"
        shape = '{"frames": [{"image": "01.jpg", "text": "..."}]} in UTF-8'
        return rejected("bad_story_json", f"{at}: {' '.join(first['msg'].split())}; write {shape}")
    if not written.frames:
        return rejected("no_pairs", 'the list "frames" is empty; give each frame an image and a text')
    frames, notes = [], []
    for index, entry in enumerate(written.frames):
        image = folder / entry.image if entry.image else None
        if entry.image and leads_outside(folder, entry.image):
            what = f"frame {index + 1}: image {entry.image[:80]!r} leads out of the story folder"
            return rejected("outside_story", f"{what}; copy the file into it and give its relative path")
        if image is None or not is_file(image):
            what = f"{entry.image[:80]!r} is no file" if entry.image else "no image is named"
            notes.append(Note(code="missing_image", detail=f"frame {index + 1}: {what}", frame=index))
            image = None
        text = _clean(entry.text or "")
        if not text:
            code = "missing_text" if entry.text is None else "empty_text"
            notes.append(Note(code=code, detail=f"frame {index + 1} has no text", frame=index))
        frames.append(Frame(image=image, text=text or None))
    return Story(id=written.id or shown(folder.resolve().name), frames=tuple(frames), notes=tuple(notes))


def _read_text(path: Path, index: int, notes: list[Note]) -> str | None:
    def refuse(code: str, detail: str) -> None:
        notes.append(Note(code=code, detail=f"{shown(path.name)}: {detail}", frame=index))

    if not path.is_file():
        refuse("unreadable_text", "not a regular file; put a text file there")
        return None
    try:
        raw = path.read_bytes()
    except OSError as error:
        refuse("unreadable_text", f"cannot be read ({error.strerror}); check its permissions")
        return None
    # UTF-32 begins with UTF-16's mark; its zeros then show in the text.
    encoding = "utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    # UTF-16 without a mark is valid UTF-8 as well, full of zeros.
    if "\0" in text:
        refuse("wrong_encoding", "is not text in UTF-8; save it as UTF-8")
        return None
    text = _clean(text)
    if not text:
        refuse("empty_text", "holds no text")
    return text or None


def _clean(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()
