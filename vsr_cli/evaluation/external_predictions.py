"""Reading predictions that some other system made: one JSON object a line.

    {"story": "812", "window": 0, "text": "…", "image": "pictures/812-0.png"}

`window` is the index of the window's first frame in its story, from 0; `image` is a path beside the file. A file gives
texts, images or both, the same for every window.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..api import find_file, nfc, open_text, undecodable
from ..config.schema import Resize
from ..data.images import read_picture
from ..errors import VsrError
from ..files.checksums import file_checksum
from ..files.strict_json import from_json, to_json
from .normalize import clean_text

FORM = '{"story": "…", "window": 0, "text": "…", "image": "PATH"}'
OWN_NAMES = {"start": "window", "prediction": "text"}
"""What `vsr evaluate` calls them in its own predictions.jsonl, which is read too."""
Window = tuple[str, int]
"""A story, and the index of the window's first frame in it."""


@dataclass(frozen=True)
class Given:
    """The predictions of a file, by window."""

    path: Path
    texts: dict[Window, str]
    """As they were given; empty where the file gives no texts."""
    images: dict[Window, Path]
    """Empty where the file gives no images."""

    @property
    def windows(self) -> Collection[Window]:
        """All windows that are predicted."""
        return self.texts.keys() | self.images.keys()

    def digest(self) -> str:
        """Return a digest of all that is predicted, texts and images, which names what a result scored."""
        found = hashlib.sha256()
        for window in sorted(self.windows):
            image = file_checksum(self.images[window]) if window in self.images else None
            found.update(to_json([*window, self.texts.get(window), image]).encode())
        return found.hexdigest()

    def cleaned(self, windows: Collection[Window]) -> list[str]:
        """Return the texts of some windows in the one form; empty ones where the file gives none."""
        return [clean_text(self.texts.get(window, "")) for window in windows]


@dataclass(frozen=True)
class GivenImages:
    """Pictures in files as rows (n, size, size, 3) uint8, fitted as the data's were, and read as they are asked for."""

    paths: list[Path]
    size: int
    resize: Resize

    def __len__(self) -> int:
        return len(self.paths)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Read some pictures. Raises VsrError if one cannot be used."""
        read = [
            read_picture(self.paths[row], where=str(self.paths[row]), size=self.size, resize=self.resize).pixels
            for row in rows.ravel().tolist()
        ]
        return np.stack(read).reshape(*rows.shape, self.size, self.size, 3)


def read_given(path: Path, known: Collection[Window]) -> Given:
    """Read a file of predictions of `known` windows.

    Raises VsrError if a line is of another form, windows come twice or are not known, an image is not there, or only
    some windows have a text or an image.
    """
    texts: dict[Window, str] = {}
    images: dict[Window, Path] = {}
    seen: dict[Window, int] = {}
    twice: list[int] = []
    unknown: list[int] = []
    absent: list[int] = []
    why = ""
    for number, record in _records(path):
        window = _window(record, where=f"{path}, line {number}")
        if window in seen:
            twice.append(number)
        elif window not in known:
            unknown.append(number)
        seen[window] = number
        if record.get("text") is not None:
            texts[window] = record["text"]
        if record.get("image") is not None:
            image = find_file(path.parent, record["image"])
            if isinstance(image, Path):
                images[window] = image
            elif image.outside:
                what = f"image leads out of the folder of the file (given: {record['image']!r})"
                raise VsrError(f"{path}, line {number}: {what}; put it beside the file")
            else:
                absent.append(number)
                why = why or image.why
    for lines, what, remedy in (
        (twice, "of a window that an earlier line predicts", "leave one of each window"),
        (unknown, "of a window that the split does not have", "check --data, --split and the windows' numbers, from 0"),
        (absent, "with an image that is not there", f"{why}; give its path as it is beside the file"),
    ):
        if lines:
            raise VsrError(f"{path}: {_counted(len(lines), 'line')} {what} (the first: line {lines[0]}); {remedy}")
    for what, found in (("text", texts), ("image", images)):
        if found and len(found) < len(seen):
            without = len(seen) - len(found)
            raise VsrError(f"{path}: {_counted(without, 'line')} without {what}; give it on every line or on none")
    if not seen:
        raise VsrError(f"{path}: holds no prediction; write one JSON object a line: {FORM}")
    if not texts and not images:
        raise VsrError(f"{path}: gives neither a text nor an image; write one JSON object a line: {FORM}")
    return Given(path, texts, images)


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with open_text(path) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, _record(line, where=f"{path}, line {number}")
    except FileNotFoundError as error:
        raise VsrError(f"{path}: there is no such file; name one with a JSON object a line: {FORM}") from error
    except UnicodeDecodeError as error:
        raise VsrError(f"{path}: {undecodable(path)}; write one JSON object a line: {FORM}") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise VsrError(f"{path}: the file breaks off early or is damaged; copy it again") from error


def _record(line: str, *, where: str) -> dict[str, Any]:
    try:
        record = from_json(line)
    except ValueError as error:
        raise VsrError(f"{where}: is not JSON ({error}); write it as {FORM}") from error
    if not isinstance(record, dict):
        raise VsrError(f"{where}: is not a JSON object; write it as {FORM}")
    for own, name in OWN_NAMES.items():
        if own in record and name not in record:
            record[name] = record[own]
    for key in ("text", "image"):
        if not isinstance(record.get(key), str | None):
            raise VsrError(f"{where}: {key} is no string (given: {record[key]!r}); write it as {FORM}")
    return record


def _window(record: dict[str, Any], *, where: str) -> Window:
    story, window = record.get("story"), record.get("window")
    if not isinstance(story, str):
        raise VsrError(f"{where}: story is no string (given: {story!r}); write the line as {FORM}")
    if not isinstance(window, int) or isinstance(window, bool):
        raise VsrError(f"{where}: window is no whole number (given: {window!r}); write the line as {FORM}")
    return nfc(story), window


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count > 1 else ''}"
