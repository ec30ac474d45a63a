"""Read the stories of a dataset into chunks, with progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...api import Dataset, HasSurvey, Rejected, Story, Survey
from ...config.schema import DataOptions
from ...plugin.faults import owner_of
from ...plugin.shared_state import shared_state
from .chunks import Made, Share, make_chunks


@dataclass
class Work:
    """Progress of a preparation."""

    stories: int = 0
    """Stories read so far."""
    made: int = 0
    """Stories whose chunks were created now."""
    bytes: int = 0
    """Total size of the chunks, new or existing."""
    read: bool = True
    """False if the survey of the source shows that nothing has changed."""
    tables: bool = False
    """Whether the tables were created now."""


def survey_of(dataset: Dataset, source: str | None) -> Survey:
    """Return the survey of a source, which reads no story; an empty one if the dataset has none."""
    return dataset.survey(source) if isinstance(dataset, HasSurvey) else Survey()


def watched_stories(dataset: Dataset, source: str | None) -> Iterator[Story | Rejected]:
    """Yield the stories. Raises PluginError if the dataset changes shared state of the process meanwhile."""
    who = f"dataset {type(dataset).__qualname__} of {owner_of(type(dataset).__module__) or 'this package'}"
    with shared_state(who):
        stories = iter(dataset.read(source))
    while True:
        with shared_state(who):
            story = next(stories, None)
        if story is None:
            return
        yield story


def read_chunks(
    stories: Iterator[Story | Rejected],
    folder: Path,
    options: DataOptions,
    share: Share,
    work: Work,
    on_progress: Callable[[Work], None],
) -> list[str]:
    """Write the missing chunks of some stories. Return the keys of all chunks in order."""

    def on_story() -> None:
        work.stories += 1
        on_progress(work)

    keys: list[str] = []
    for made in make_chunks(stories, folder, options, share=share, on_story=on_story):
        if made is not None:
            _count(made, work)
            keys.append(made.chunk.key)
            on_progress(work)
    return keys


def _count(made: Made, work: Work) -> None:
    work.made += made.stories if made.new else 0
    work.bytes += made.chunk.images.stat().st_size + made.chunk.stories.stat().st_size
