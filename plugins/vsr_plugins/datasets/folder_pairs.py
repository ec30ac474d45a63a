"""The files of a story folder: pairs of image and text, other files, and missing numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from vsr_cli.api import OTHER_SUFFIXES, image_formats, image_suffixes, natural, nfc

IMAGES, TEXTS = "image", "text"
TEXT_SUFFIXES = (".txt",)
OTHER_TEXTS = frozenset({
    ".text", ".md", ".rtf", ".doc", ".docx", ".odt", ".caption", ".cap", ".htm", ".html", ".srt", ".tex",
})  # fmt: skip
"""Suffixes of texts that are not supported."""
KINDS = {IMAGES: ", ".join(image_formats()), TEXTS: ", ".join(TEXT_SUFFIXES)}
"""Supported suffixes and formats, for messages."""
MOST_SHOWN = 5
"""Maximum number of missing numbers that a message lists."""

Files = Mapping[str, Sequence[Path]]
"""Files by stem in composed Unicode (NFC); files with the same stem are in order of preference."""


@dataclass(frozen=True)
class StoryFiles:
    """The files of a story folder that are, or may be meant as, parts of a story."""

    read: Mapping[str, Files]
    """By kind: files of supported formats."""
    others: Mapping[str, Files]
    """By kind: files of other formats."""

    @classmethod
    def of(cls, folder: Path) -> StoryFiles:
        """List a folder without hidden files. Raises OSError if it cannot be read."""
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        suffixes: dict[str, Sequence[str]] = {IMAGES: image_suffixes(), TEXTS: TEXT_SUFFIXES}
        read = {kind: _by_stem(paths, known) for kind, known in suffixes.items()}
        others = {
            kind: _by_stem([path for path in paths if not path.is_dir()], sorted(known))
            for kind, known in ((IMAGES, OTHER_SUFFIXES), (TEXTS, OTHER_TEXTS))
        }
        return cls(read, others)

    @property
    def any(self) -> bool:
        """Return whether there is any file of a supported format."""
        return any(_holds_file(paths) for files in self.read.values() for paths in files.values())

    @property
    def pairs(self) -> set[str]:
        """The stems that have both an image and a text."""
        images, texts = (
            {stem for stem, paths in self.read[kind].items() if _holds_file(paths)} for kind in (IMAGES, TEXTS)
        )
        return images & texts

    def stems(self) -> tuple[list[str], list[str]]:
        """Return the stems of the frames of the story, and of other files among numbered pairs.

        Both in natural order ("2" before "10").
        """
        pairs = self.pairs
        prefixes = {_prefix(stem) for stem in pairs}
        # An image of an unsupported format is still a frame, without an image.
        unread = {stem for stem in self.others[IMAGES] if _number(stem) is not None and _prefix(stem) in prefixes}
        stems = sorted({*self.read[IMAGES], *self.read[TEXTS], *unread}, key=natural)
        if not _mostly_numbered(pairs):
            return stems, []
        strays = {stem for stem in stems if stem not in pairs and _prefix(stem) not in prefixes}
        return [stem for stem in stems if stem not in strays], [stem for stem in stems if stem in strays]

    def odd_pairs(self) -> set[str]:
        """Return the stems of pairs without a number, if the others have one."""
        pairs = self.pairs
        return {stem for stem in pairs if _number(stem) is None} if _mostly_numbered(pairs) else set()

    def of_stem(self, stem: str, kind: str) -> Sequence[Path]:
        """Return the files of a stem and kind in supported formats."""
        return self.read[kind].get(stem, ())

    def unread_of_stem(self, stem: str, kind: str) -> Sequence[Path]:
        """Return the images or texts of a stem in unsupported formats."""
        return self.others[kind].get(stem, ())

    def unread(self, kind: str) -> list[Path]:
        """Return all images or texts in unsupported formats."""
        return [path for paths in self.others[kind].values() for path in paths]


def missing_numbers(stems: Sequence[str]) -> str:
    """List the missing numbers of consecutively numbered stems in natural order; "" if there are none."""
    numbers = [_number(stem) for stem in stems]
    if None in numbers or len({_prefix(stem) for stem in stems}) != 1 or len(numbers) < 3:
        return ""
    whole = [number for number in numbers if number is not None]
    steps = Counter(after - before for before, after in pairwise(whole))
    (usual, _), *_ = steps.most_common(1)
    if usual != 1 or min(steps) < 1:
        return ""  # not consecutive, such as the seconds of a video, or several files per number
    gaps = [(before + 1, after - 1) for before, after in pairwise(whole) if after > before + 1]
    named = [str(first) if first == last else f"{first} to {last}" for first, last in gaps[:MOST_SHOWN]]
    return ", ".join([*named, "…"] if len(gaps) > MOST_SHOWN else named)


def _mostly_numbered(pairs: Collection[str]) -> bool:
    return 2 * sum(_number(stem) is not None for stem in pairs) > len(pairs)


def _number(stem: str) -> int | None:
    """Return the first number in a stem."""
    found = re.search("[0-9]{1,18}", stem)
    return int(found[0]) if found else None


def _prefix(stem: str) -> str:
    """Return the part before the first number."""
    return re.split("[0-9]", stem.casefold(), maxsplit=1)[0]


def _holds_file(paths: Sequence[Path]) -> bool:
    return not all(path.is_dir() for path in paths)


def _by_stem(paths: Sequence[Path], suffixes: Sequence[str]) -> Files:
    """Return the files of some kinds by stem; those of one stem in the order of `suffixes`, folders last."""
    files = [path for path in paths if path.suffix.lower() in suffixes]
    found: dict[str, list[Path]] = {}
    for path in sorted(files, key=lambda path: (path.is_dir(), suffixes.index(path.suffix.lower()), path.name)):
        if not path.is_dir() or nfc(path.stem) not in found:
            found.setdefault(nfc(path.stem), []).append(path)
    return found
