"""The manifest of a prepared folder, in a module that imports neither numpy nor pyarrow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..errors import VsrError
from ..files.atomic import is_temporary, read_json

FORMAT = 4
FINISHED, UNFINISHED = "finished", "unfinished"
MANIFEST = "manifest.json"
DATA = Path("data")
"""The folder of the prepared folders."""


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a prepared folder, finished or not. Raises VsrError if it is not one of this format."""
    manifest = read_json(folder / MANIFEST, what="a folder that 'vsr prepare' wrote")
    if manifest.get("format") != FORMAT:
        raise VsrError(f"{folder}: prepared by another version of vsr; remove it and prepare the data again")
    tables = manifest.get("tables")
    if isinstance(tables, str) and not re.fullmatch(r"\w[\w.-]*", tables):
        raise VsrError(
            f"{folder / MANIFEST}: its tables are not in the folder itself (got {tables!r}); prepare the data again"
        )
    return manifest


def read_finished(folder: Path) -> dict[str, Any]:
    """Read the manifest of a prepared folder. Raises VsrError if it is not one, or its preparation is not finished."""
    manifest = read_manifest(folder)
    if manifest["status"] == UNFINISHED:
        raise VsrError(f"{folder}: preparation is not finished; run the same 'vsr prepare' again to resume it")
    return manifest


def newest_prepared() -> Path | None:
    """Find the newest prepared folder under data/."""
    manifests = [path for path in DATA.glob(f"*/{MANIFEST}") if not is_temporary(path.parent)]
    manifests.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return next((path.parent for path in manifests if _is_finished(path.parent)), None)


def _is_finished(folder: Path) -> bool:
    try:
        read_finished(folder)
    except VsrError:
        return False  # not a prepared folder, or of another version
    return True
