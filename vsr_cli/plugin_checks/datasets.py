"""Checks of datasets: valid stories, the same each time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from ..api import Frame, HasSurvey, Rejected, Story
from ..config.resolve import Choice, Layer, Resolver, parse_set
from ..data.images import ImageProblem, decode_image
from ..data.splits import SPLITS
from ..plugin.loading import build
from ..plugin.registry import Registry
from .outcomes import Check, require

MOST_STORIES = 24
"""Stories of a large source that are checked."""
MOST_IMAGES = 20


def choose(registry: Registry, name: str, assignments: Sequence[str]) -> Choice:
    """Resolve the options of a dataset. Raises VsrError with all errors in the assignments."""
    layers = [Layer("the component", {"dataset": {"name": name}}), *parse_set(assignments)]
    resolver = Resolver(registry, ["dataset"], layers)
    choice = resolver.choice("dataset")
    resolver.finish()
    assert choice
    return choice


@dataclass(frozen=True)
class DatasetUnderTest:
    """A dataset by its options, and the source to read."""

    choice: Choice
    source: str | None

    def build(self) -> Any:
        """Build the dataset."""
        return build(self.choice.provided, self.choice.options)

    def read(self) -> list[Story | Rejected]:
        """Read the first stories."""
        return list(islice(self.build().read(self.source), MOST_STORIES + 1))

    @cached_property
    def items(self) -> list[Story | Rejected]:
        """The first stories, read once."""
        return self.read()


def is_built(dataset: DatasetUnderTest) -> str:
    """Build the dataset and check that it has its methods."""
    built = dataset.build()
    missing = [name for name in ("read", "describe") if not callable(getattr(built, name, None))]
    require(not missing, f"{type(built).__qualname__} lacks {' and '.join(missing)}")
    return type(built).__qualname__


def describes(dataset: DatasetUnderTest) -> str | None:
    """Check the facts for the manifest."""
    facts = dataset.build().describe(dataset.source)
    texts = isinstance(facts, Mapping) and all(isinstance(text, str) for pair in facts.items() for text in pair)
    require(texts, f"describe returned {facts!r}, not a mapping of texts to texts")
    require(bool(facts), "describe returned nothing; name at least the source")
    return ", ".join(facts)


def stories_are_valid(dataset: DatasetUnderTest) -> str | None:
    """Check each story."""
    items = dataset.items
    stories = [item for item in items if isinstance(item, Story)]
    for item in items:
        require(isinstance(item, Story | Rejected), f"read yielded a {type(item).__name__}, not Story or Rejected")
    require(bool(stories), f"read yielded no story, and {len(items)} rejected ones; try another --source")
    ids: set[str] = set()
    for story in stories:
        require(isinstance(story.id, str) and bool(story.id.strip()), f"the id of a story is {story.id!r}, not a text")
        require(story.id not in ids, f"two stories have the id {story.id!r}")
        ids.add(story.id)
        for problem in _problems(story):
            require(False, f"story {story.id!r}: {problem}")
    return f"{len(stories)} stories, {len(items) - len(stories)} rejected"


def _problems(story: Story) -> Iterator[str]:
    if not isinstance(story.frames, tuple) or not story.frames:
        yield "frames is not a tuple with at least one Frame"
        return
    if story.split is not None and story.split not in SPLITS:
        yield f"its split is {story.split!r}, not one of {', '.join(SPLITS)}"
    if story.group is not None and not isinstance(story.group, str):
        yield f"its group is {story.group!r}, not a text"
    for note in story.notes:
        if not re.fullmatch("[a-z0-9_]+", note.code):
            yield f"a note's code is {note.code!r}, not lower case with underscores"
        if note.frame is not None and not 0 <= note.frame < len(story.frames):
            yield f"a note is about frame {note.frame} of {len(story.frames)}"
    if story.analysis is not None and len(story.analysis.frames) != len(story.frames):
        yield f"its analysis is of {len(story.analysis.frames)} frames, not {len(story.frames)}"
    for index, frame in enumerate(story.frames):
        for problem in _frame_problems(frame):
            yield f"frame {index}: {problem}"


def _frame_problems(frame: Any) -> Iterator[str]:
    if not isinstance(frame, Frame):
        yield f"it is a {type(frame).__name__}, not a Frame"
        return
    if not isinstance(frame.image, Path | bytes | None):
        yield f"its image is a {type(frame.image).__name__}, not a path or a file's bytes"
    if not isinstance(frame.text, str | None):
        yield f"its text is a {type(frame.text).__name__}"
    length = len(frame.text) if isinstance(frame.text, str) else 0
    for entity in frame.entities:
        if not 0 <= entity.start < entity.end <= length:
            yield f"an entity spans {entity.start} to {entity.end} of a text of {length} characters"


def images_open(dataset: DatasetUnderTest) -> str | None:
    """Open the first images. A broken one is the fault of the source; if none opens, it is the dataset's."""
    items = dataset.items
    stories = [item for item in items if isinstance(item, Story)]
    frames = [frame for story in stories for frame in story.frames if frame.image is not None][:MOST_IMAGES]
    require(bool(frames), "no frame has an image")
    problems: list[str] = []
    for frame in frames:
        assert frame.image is not None
        try:
            decode_image(frame.image, where="an image")
        except ImageProblem as problem:
            problems.append(str(problem))
    require(len(problems) < len(frames), f"none of {len(frames)} opens: {problems[:1]}")
    return f"{len(frames) - len(problems)} of {len(frames)}"


def is_repeatable(dataset: DatasetUnderTest) -> str | None:
    """Read the stories twice."""
    first, second = dataset.items, dataset.read()
    require(len(first) == len(second), f"{len(first)} stories, then {len(second)}")
    for index, (one, other) in enumerate(zip(first, second, strict=True)):
        require(one == other, f"story {index} differs when read again; fix the order, and seed random numbers")
    return None


def survey_is_right(dataset: DatasetUnderTest) -> str | None:
    """Compare the survey with the stories that are read."""
    built, count = dataset.build(), len(dataset.items)
    if not isinstance(built, HasSurvey):
        return "it has none"
    survey, again = built.survey(dataset.source), built.survey(dataset.source)
    require(survey == again, f"returned {survey!r}, then {again!r}")
    if survey.stories is not None:
        fits = survey.stories == count if count <= MOST_STORIES else survey.stories > MOST_STORIES
        require(fits, f"announced {survey.stories} stories, and read yields {count}")
    return f"stories: {survey.stories}, state: {'known' if survey.state else 'not known'}"


CHECKS: tuple[Check[DatasetUnderTest], ...] = (
    ("describes its source", describes),
    ("yields valid stories", stories_are_valid),
    ("its images can be opened", images_open),
    ("yields the same stories again", is_repeatable),
    ("its survey is right", survey_is_right),
)
