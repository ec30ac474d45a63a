"""The folder that an evaluation is written to, by one process at a time. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..files.atomic import sweep
from ..files.links import refuse_links
from ..files.locks import alone_in
from ..runs.results import LEAKS, PICTURES, PREDICTIONS, RESULT, STATISTICS, STORYBOARDS

WRITTEN = (RESULT, PREDICTIONS, STATISTICS, LEAKS, STORYBOARDS, PICTURES)


@contextmanager
def alone_in_evaluation(folder: Path) -> Iterator[None]:
    """Keep other processes from writing the evaluation PLACE/evaluations/NAME, from before it is computed.

    Raises VsrError if one does so already, or if the folder or anything in it is a link.
    """
    place, evaluations = folder.parent.parent, folder.parent
    refuse_links(place, [evaluations.name], below=False)
    refuse_links(evaluations, [folder.name])
    busy = f"{folder}: another process is writing this evaluation; wait for it, or stop it first"
    with alone_in(folder, busy=busy):
        sweep(folder, names=WRITTEN)
        yield
