"""The dataset `folder`: a folder of story folders, each with pairs of files or a story.json."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ValidationError

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
    find_file,
    leads_outside,
    natural,
    nfc,
    own_name,
    refuse_exhaustion,
    shown,
    tidy_text,
)

from .folder_pairs import IMAGES, KINDS, TEXTS, StoryFiles, missing_numbers

STORY_FILE = "story.json"


class _FrameEntry(BaseModel):
    image: str | None = None
    text: str | None = None


class _StoryFile(BaseModel):
    """The content of a story.json; other keys are ignored."""

    id: str | None = None
    frames: list[_FrameEntry]


def holds_pair(folder: Path) -> bool:
    """Return whether a folder is a story: it has a story.json, or an image and a text with the same stem."""
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
        detail = "has no image and text with the same stem; rename them, for example to 01.jpg and 01.txt"
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
        detail = f"{shown(path.name)} is not named like the pairs of the story, so it is not a frame of it"
        notes.append(Note(code="stray_file", detail=detail))
    for stem in files.odd_pairs():
        index = stems.index(stem)
        detail = f"{shown(stem)} has no number, unlike the other pairs: it is read as frame {index + 1}"
        notes.append(Note(code="unnumbered_pair", detail=detail, frame=index))
    if gaps := missing_numbers(stems):
        detail = f"between {shown(stems[0])} and {shown(stems[-1])} these numbers are missing: {gaps}"
        notes.append(Note(code="missing_number", detail=detail))
    return Story(id=own_name(folder), frames=tuple(frames), notes=tuple(notes))


def _choose(folder: Path, files: StoryFiles, stem: str, *, kind: str, index: int, notes: list[Note]) -> Path | None:
    """Return the file of the image or text of a frame; None, with a note, if there is no readable one."""

    def note(code: str, detail: str) -> None:
        notes.append(Note(code=code, detail=detail, frame=index))

    found = files.of_stem(stem, kind)
    if not found:
        if others := files.unread_of_stem(stem, kind):
            names = ", ".join(shown(path.name) for path in others)
            convert = "convert it to JPEG or PNG" if kind == IMAGES else "save it as plain text, .txt"
            note(f"unsupported_{kind}", f"{names} has an unsupported format (supported: {KINDS[kind]}); {convert}")
        else:
            note(f"missing_{kind}", f"{shown(stem)} has no {kind}")
        return None
    if len(found) > 1:
        names = ", ".join(shown(path.name) for path in found)
        note(f"duplicate_{kind}", f"{names} have the same stem: the first is used")
    path = found[0]
    if path.is_symlink() and not path.exists():
        note(f"missing_{kind}", f"{shown(path.name)} is a broken link; put the file there")
        return None
    if leads_outside(folder, path.name):
        note("outside_story", f"{shown(path.name)} is a link to a file outside the story folder; copy the file into it")
        return None
    return path


def _from_json(folder: Path) -> Story | Rejected:
    path = folder / STORY_FILE

    def rejected(code: str, detail: str) -> Rejected:
        return Rejected(where=shown(str(path)), code=code, detail=detail)

    if leads_outside(folder, STORY_FILE):
        return rejected("outside_story", f"{STORY_FILE} is a link out of the story folder; copy the file into it")
    if not path.is_file():  # otherwise the pairs next to it would be read unnoticed
        return rejected("bad_story_json", "is not a file, or a broken link; put the file there or remove it")
    try:
        written = _StoryFile.model_validate_json(_utf8(path.read_bytes()), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"])) or "the file"
        shape = '{"frames": [{"image": "01.jpg", "text": "..."}]} in UTF-8'
        return rejected("bad_story_json", f"{at}: {' '.join(first['msg'].split())}; write {shape}")
    if not written.frames:
        return rejected("no_pairs", 'the list "frames" is empty; add frames with an image and a text')
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
    """Return the bytes of a JSON file without a BOM, converted to UTF-8 if the BOM is that of UTF-16."""
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
    # The BOM of UTF-32 begins with that of UTF-16; the text then contains zeros.
    encoding = "utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    # UTF-16 without a BOM is also valid UTF-8, but contains zeros.
    if "\0" in text:
        refuse("wrong_encoding", "is not text in UTF-8; save it as UTF-8")
        return None
    text = tidy_text(text)
    if not text:
        refuse("empty_text", "holds no text")
    return text or None


SHAPE = f"a story folder holds pairs such as 01.jpg and 01.txt, or a {STORY_FILE}"
SYSTEM_FOLDERS = frozenset({"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"})


def build(options: Options) -> Dataset:
    """Return the dataset, which has no options. Nothing is read yet."""
    return FolderDataset()


class FolderDataset:
    """Stories from files. The source is a folder of story folders, or one story folder itself."""

    def read(self, source: str | None) -> Iterator[Story | Rejected]:
        """Yield the stories in natural order of their folders' names ("2" before "10").

        Raises VsrError if the source is no folder or holds no story folder.
        """
        return map(read_story, _story_folders(_folder(source)))

    def describe(self, source: str | None) -> Mapping[str, str]:
        """Return the source folder's name. Reads no story."""
        return {"source": own_name(_folder(source))}

    def survey(self, source: str | None) -> Survey:
        """Count the story folders."""
        return Survey(stories=len(_story_folders(_folder(source))))


def _folder(source: str | None) -> Path:
    if source is None:
        raise VsrError(f"folder: no source is given; name a folder of story folders: {SHAPE}")
    folder = Path(source)
    if not folder.exists():
        raise VsrError(f"{source}: no such folder; name a folder of story folders: {SHAPE}")
    if not folder.is_dir():
        raise VsrError(f"{source}: is a file; name the folder that holds the story folders: {SHAPE}")
    return folder


def _story_folders(source: Path) -> list[Path]:
    try:
        inside = [path for path in source.iterdir() if path.is_dir() and not _is_the_systems(path.name)]
        folders = sorted(inside, key=lambda path: natural(path.name))
        if not holds_pair(source):
            if not any(_reads_as(holds_story_files, path) for path in folders):
                raise VsrError(f"{source}: holds no story folders; {SHAPE}")
            return folders
    except OSError as error:
        raise VsrError(f"{source}: the folder cannot be read ({error.strerror}); check its permissions") from error
    if inner := next((path for path in folders if _reads_as(holds_pair, path)), None):
        what = f"is a story folder itself and contains others ({shown(inner.name)})"
        raise VsrError(f"{source}: {what}; move one of them elsewhere")
    return [source]


def _is_the_systems(name: str) -> bool:
    """Return whether a folder is hidden, or created by archives and file servers."""
    return name.startswith(".") or name.casefold() in SYSTEM_FOLDERS


def _reads_as(kind: Callable[[Path], bool], folder: Path) -> bool:
    try:
        return kind(folder)
    except OSError:
        return True  # not skipped: it is rejected by name later
