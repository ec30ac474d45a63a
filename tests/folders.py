"""Contents of folders, for comparisons."""

from pathlib import Path


def names_in(folder: Path) -> list[str]:
    """Return the sorted paths of all files and folders below a folder, relative to it."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files below a folder, by their relative paths."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def modification_times(*folders: Path) -> dict[Path, int]:
    """Return when each file and folder was last changed, in ns."""
    return {path: path.stat().st_mtime_ns for folder in folders for path in [folder, *folder.rglob("*")]}
