"""Reader of one story folder: pairs of files with one stem, or a story.json."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ValidationError

from vsr_cli.api import (
    Frame,
    NoFile,
    Note,
    Rejected,
    Story,
    find_file,
    leads_outside,
    nfc,
    own_name,
    refuse_exhaustion,
    shown,
    tidy_text,
)

from .pairs import IMAGES, KINDS, TEXTS, StoryFiles, missing_numbers

STORY_FILE = "story.json"


class _FrameEntry(BaseModel):
    image: str | None = None
    text: str | None = None


class _StoryFile(BaseModel):
    """The content of a story.json; other keys are ignored."""

    id: str | None = None
    frames: list[_FrameEntry]


def holds_pair(folder: Path) -> bool:
    """Return whether a folder is a story: it holds a story.json, or an image and a text with one stem."""
    return os.path.lexists(folder / STORY_FILE) or bool(StoryFiles.of(folder).pairs)


def holds_story_files(folder: Path) -> bool:
    """Return whether a folder holds anything that could be part of a story."""
    return os.path.lexists(folder / STORY_FILE) or StoryFiles.of(folder).any


def read_story(folder: Path) -> Story | Rejected:
    """Read one story. A frame's missing or unreadable image or text is None, with a note.

    No file outside the folder is read, even if a story.json or a link names it. Codes of the notes:
    missing_image, missing_text, empty_text, wrong_encoding, unreadable_text, unsupported_image, unsupported_text,
    duplicate_image, duplicate_text, stray_file, unnumbered_pair, missing_number, outside_story; of a rejected story:
    no_pairs, bad_story_json, outside_story, unreadable_folder.
    """
    try:
        if os.path.lexists(folder / STORY_FILE):
            return _from_json(folder)
        return _from_pairs(folder)
    except OSError as error:
        refuse_exhaustion(error, folder)
        detail = f"the folder cannot be read ({error.strerror}); check its permissions"
        return Rejected(where=shown(str(folder)), code="unreadable_folder", detail=detail)


def _from_pairs(folder: Path) -> Story | Rejected:
    files = StoryFiles.of(folder)
    if not files.pairs:
        others = ", ".join(shown(path.name) for path in files.unread(IMAGES)[:3])
        detail = "holds no image and text with one stem; name them alike, e.g. 01.jpg and 01.txt"
        if others:
            detail += f" ({others}: of a kind that is not read; {KINDS[IMAGES]} are)"
        return Rejected(where=shown(str(folder)), code="no_pairs", detail=detail)
    stems, strays = files.stems()
    frames, notes = [], list[Note]()
    for index, stem in enumerate(stems):
        image, text = None, None
        for kind in (IMAGES, TEXTS):
            chosen = _choose(folder, files, stem, kind=kind, index=index, notes=notes)
            if chosen and kind == IMAGES:
                image = chosen
            elif chosen:
                text = _read_text(chosen, index, notes)
        frames.append(Frame(image=image, text=text))
    for path in (path for stem in strays for kind in KINDS for path in files.of_stem(stem, kind)):
        detail = f"{shown(path.name)} is not named as the story's pairs are, and is no frame of it"
        notes.append(Note(code="stray_file", detail=detail))
    for stem in files.odd_pairs():
        index = stems.index(stem)
        detail = f"{shown(stem)} has no number, as the other pairs have: it is read as frame {index + 1}"
        notes.append(Note(code="unnumbered_pair", detail=detail, frame=index))
    if gaps := missing_numbers(stems):
        detail = f"between {shown(stems[0])} and {shown(stems[-1])} nothing is numbered {gaps}"
        notes.append(Note(code="missing_number", detail=detail))
    return Story(id=own_name(folder), frames=tuple(frames), notes=tuple(notes))


def _choose(folder: Path, files: StoryFiles, stem: str, *, kind: str, index: int, notes: list[Note]) -> Path | None:
    """Return the file of a frame's image or text; None, with a note, if there is none that may be read."""

    def note(code: str, detail: str) -> None:
        notes.append(Note(code=code, detail=detail, frame=index))

    found = files.of_stem(stem, kind)
    if not found:
        if others := files.unread_of_stem(stem, kind):
            names = ", ".join(shown(path.name) for path in others)
            convert = "convert it to JPEG or PNG" if kind == IMAGES else "save it as plain text, .txt"
            note(f"unsupported_{kind}", f"{names} is of a kind that is not read ({KINDS[kind]} are); {convert}")
        else:
            note(f"missing_{kind}", f"{shown(stem)} has no {kind}")
        return None
    if len(found) > 1:
        names = ", ".join(shown(path.name) for path in found)
        note(f"duplicate_{kind}", f"one stem names {names}: the first is taken")
    path = found[0]
    if path.is_symlink() and not path.exists():
        note(f"missing_{kind}", f"{shown(path.name)} is a link that leads to no file; put the file there")
        return None
    if leads_outside(folder, path.name):
        note("outside_story", f"{shown(path.name)} is a link out of the story folder; copy the file into it")
        return None
    return path


def _from_json(folder: Path) -> Story | Rejected:
    path = folder / STORY_FILE

    def rejected(code: str, detail: str) -> Rejected:
        return Rejected(where=shown(str(path)), code=code, detail=detail)

    if leads_outside(folder, STORY_FILE):
        return rejected("outside_story", f"{STORY_FILE} is a link out of the story folder; copy the file into it")
    if not path.is_file():  # else the pairs beside it would be read instead, unnoticed
        return rejected("bad_story_json", "is no file, or a link that leads to none; put the file there or remove it")
    try:
        written = _StoryFile.model_validate_json(_utf8(path.read_bytes()), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"])) or "the file"
        shape = '{"frames": [{"image": "01.jpg", "text": "..."}]} in UTF-8'
        return rejected("bad_story_json", f"{at}: {' '.join(first['msg'].split())}; write {shape}")
    if not written.frames:
        return rejected("no_pairs", 'the list "frames" is empty; give each frame an image and a text')
    frames, notes = [], []
    for index, entry in enumerate(written.frames):
        image = find_file(folder, entry.image) if entry.image else NoFile("no image is named")
        if isinstance(image, NoFile):
            if image.outside:
                return rejected("outside_story", f"frame {index + 1}: image {image.why}")
            notes.append(Note(code="missing_image", detail=f"frame {index + 1}: {image.why}", frame=index))
        text = tidy_text(entry.text)
        if not text:
            code = "missing_text" if entry.text is None else "empty_text"
            notes.append(Note(code=code, detail=f"frame {index + 1} has no text", frame=index))
        frames.append(Frame(image=None if isinstance(image, NoFile) else image, text=text or None))
    return Story(id=nfc(written.id) if written.id else own_name(folder), frames=tuple(frames), notes=tuple(notes))


def _utf8(raw: bytes) -> bytes:
    """Return a JSON file's bytes without a mark; in UTF-8, if a mark says that they are in UTF-16."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        with suppress(UnicodeDecodeError):  # damaged text is not valid JSON either
            return raw.decode("utf-16").encode()
    return raw.removeprefix(b"\xef\xbb\xbf")


def _read_text(path: Path, index: int, notes: list[Note]) -> str | None:
    def refuse(code: str, detail: str) -> None:
        notes.append(Note(code=code, detail=f"{shown(path.name)}: {detail}", frame=index))

    if not path.is_file():
        refuse("unreadable_text", "not a regular file; put a text file there")
        return None
    try:
        raw = path.read_bytes()
    except OSError as error:
        refuse_exhaustion(error, path)
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
    text = tidy_text(text)
    if not text:
        refuse("empty_text", "holds no text")
    return text or None
