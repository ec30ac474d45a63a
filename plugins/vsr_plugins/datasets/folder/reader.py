"""Reader of a folder of story folders, in natural order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from vsr_cli.api import Dataset, Options, Rejected, Story, Survey, VsrError, natural, own_name, shown

from .story import STORY_FILE, holds_pair, holds_story_files, read_story

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
        what = f"is a story folder itself, and holds others ({shown(inner.name)})"
        raise VsrError(f"{source}: {what}; move one or the other elsewhere")
    return [source]


def _is_the_systems(name: str) -> bool:
    """Return whether a folder is hidden, or created by archives and file servers."""
    return name.startswith(".") or name.casefold() in SYSTEM_FOLDERS


def _reads_as(kind: Callable[[Path], bool], folder: Path) -> bool:
    try:
        return kind(folder)
    except OSError:
        return True  # not skipped: it is rejected by name later
