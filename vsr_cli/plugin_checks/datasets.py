"""What a dataset promises: valid stories, the same each time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from ..api import Frame, HasSurvey, Rejected, Story
from ..config.resolve import Choice, Layer, Resolver, parse_set
from ..data.images import ImageProblem, decode_image
from ..data.splits import SPLITS
from ..plugin.loading import build
from ..plugin.registry import Registry
from .outcomes import Check, demand

MOST_STORIES = 24
"""How many stories of a large source are looked at."""
MOST_PICTURES = 20


def choose(registry: Registry, name: str, assignments: Sequence[str]) -> Choice:
    """Resolve a dataset's options. Raises VsrError with all mistakes in the assignments."""
    layers = [Layer("the component", {"dataset": {"name": name}}), *parse_set(assignments)]
    resolver = Resolver(registry, ["dataset"], layers)
    choice = resolver.choice("dataset")
    resolver.finish()
    assert choice
    return choice


def build_it(choice: Choice) -> str:
    """Build the dataset and look for its methods."""
    dataset = build(choice.provided, choice.options)
    missing = [name for name in ("read", "describe") if not callable(getattr(dataset, name, None))]
    demand(not missing, f"{type(dataset).__qualname__} lacks {' and '.join(missing)}")
    return type(dataset).__qualname__


def checks(choice: Choice, source: str | None) -> Iterator[Check]:
    """Yield the checks of a dataset."""

    def read() -> list[Story | Rejected]:
        dataset = build(choice.provided, choice.options)
        return list(islice(dataset.read(source), MOST_STORIES + 1))

    first = cache(read)
    yield "says where its stories come from", lambda: describes(choice, source)
    yield "gives valid stories", lambda: gives_stories(first())
    yield "its pictures can be opened", lambda: pictures_open(first())
    yield "gives the same again", lambda: gives_the_same(first(), read())
    yield "surveys what it reads", lambda: surveys(choice, source, count=len(first()))


def describes(choice: Choice, source: str | None) -> str | None:
    """Ask for the facts of the manifest."""
    facts = build(choice.provided, choice.options).describe(source)
    texts = isinstance(facts, Mapping) and all(isinstance(text, str) for pair in facts.items() for text in pair)
    demand(texts, f"describe gave {facts!r}; it gives a mapping of texts to texts")
    demand(bool(facts), "describe gave nothing; name at least the source")
    return ", ".join(facts)


def gives_stories(items: Sequence[Story | Rejected]) -> str | None:
    """Look at each story."""
    stories = [item for item in items if isinstance(item, Story)]
    for item in items:
        demand(isinstance(item, Story | Rejected), f"read gave a {type(item).__name__}; it gives Story and Rejected")
    demand(bool(stories), f"read gave no story, {len(items)} were rejected; try another --source")
    ids: set[str] = set()
    for story in stories:
        demand(isinstance(story.id, str) and bool(story.id.strip()), f"a story's id is {story.id!r}; it is a text")
        demand(story.id not in ids, f"two stories have the id {story.id!r}")
        ids.add(story.id)
        for problem in _problems(story):
            demand(False, f"story {story.id!r}: {problem}")
    return f"{len(stories)} stories, {len(items) - len(stories)} rejected"


def _problems(story: Story) -> Iterator[str]:
    if not isinstance(story.frames, tuple) or not story.frames:
        yield "frames is no tuple with at least one Frame"
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


def pictures_open(items: Sequence[Story | Rejected]) -> str | None:
    """Open the first pictures. One that is broken is the source's fault; none that opens is the dataset's."""
    stories = [item for item in items if isinstance(item, Story)]
    frames = [frame for story in stories for frame in story.frames if frame.image is not None][:MOST_PICTURES]
    demand(bool(frames), "no frame has a picture")
    problems: list[str] = []
    for frame in frames:
        assert frame.image is not None
        try:
            decode_image(frame.image, where="a picture")
        except ImageProblem as problem:
            problems.append(str(problem))
    demand(len(problems) < len(frames), f"none of {len(frames)} opens: {problems[:1]}")
    return f"{len(frames) - len(problems)} of {len(frames)}"


def gives_the_same(first: Sequence[Story | Rejected], second: Sequence[Story | Rejected]) -> str | None:
    """Compare two readings."""
    demand(len(first) == len(second), f"{len(first)} stories, then {len(second)}")
    for index, (one, other) in enumerate(zip(first, second, strict=True)):
        demand(one == other, f"number {index} is another when read again; fix the order, and seed what is random")
    return None


def surveys(choice: Choice, source: str | None, *, count: int) -> str | None:
    """Compare what it says beforehand with the count of what it reads."""
    dataset = build(choice.provided, choice.options)
    if not isinstance(dataset, HasSurvey):
        return "it makes none"
    survey, again = dataset.survey(source), dataset.survey(source)
    demand(survey == again, f"said {survey!r}, then {again!r}")
    if survey.stories is not None:
        fits = survey.stories == count if count <= MOST_STORIES else survey.stories > MOST_STORIES
        demand(fits, f"announced {survey.stories} stories, and read gives {count}")
    return f"stories: {survey.stories}, state: {'known' if survey.state else 'not known'}"
