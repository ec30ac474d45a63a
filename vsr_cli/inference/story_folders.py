"""Reading of the stories that a user names, each a folder of pairs or a story.json."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ..api import Dataset, Rejected, Story, image_suffixes
from ..config.resolve import Layer, Resolver
from ..errors import VsrError
from ..plugin.loading import build
from ..plugin.registry import Registry

READER = "folder"
"""The dataset that reads a story folder."""
STORY = "a story: pairs of an image and a text such as 01.jpg and 01.txt, or a story.json"
STORY_FILE = "story.json"
TEXTS = (".txt", ".json")
NOTES = 3
"""Of a story, shown one by one."""


def open_reader(registry: Registry) -> Dataset:
    """Return the dataset that reads story folders."""
    resolver = Resolver(registry, ["dataset"], [Layer("vsr predict", {"dataset": {"name": READER}})])
    choice = resolver.choice("dataset")
    resolver.finish()
    assert choice
    reader: Dataset = build(choice.provided, choice.options)
    return reader


def read_stories(reader: Dataset, sources: Sequence[Path]) -> tuple[list[Story], list[str]]:
    """Return the stories of some folders, and an error line for each that cannot be read."""
    stories: list[Story] = []
    mistakes: list[str] = []
    for source in sources:
        try:
            for story in _stories(reader, source):
                if isinstance(story, Rejected):
                    mistakes.append(f"{story.where}: {story.detail}")
                else:
                    stories.append(story)
        except VsrError as error:
            mistakes += error.lines
    return stories, mistakes


def read_one_story(reader: Dataset, source: Path) -> Story:
    """Return the story of a folder. Raises VsrError if it cannot be read, or if there are several in it."""
    stories, mistakes = read_stories(reader, [source])
    if mistakes:
        raise VsrError(*mistakes)
    if len(stories) != 1:
        raise VsrError(f"{source}: holds {len(stories)} stories; name the folder of one of them")
    return stories[0]


def _stories(reader: Dataset, source: Path) -> Iterator[Story | Rejected]:
    if source.name == STORY_FILE and source.is_file():
        source = source.parent
    if not source.is_dir():
        what = "there is no such folder"
        if source.exists():
            what = "is one image, not a folder" if source.suffix.lower() in image_suffixes() else "is not a folder"
        raise VsrError(f"{source}: {what}; name a folder that holds {STORY}")
    names = [path for path in source.iterdir() if path.is_file() and not path.name.startswith(".")]
    images, texts = (sum(path.suffix.lower() in kinds for path in names) for kinds in (image_suffixes(), TEXTS))
    if images and not texts:
        raise VsrError(
            f"{source}: holds {images} images and no text; a story needs both; write the text of each image "
            "beside it under its name, e.g. 01.jpg and 01.txt"
        )
    if texts and not images:
        raise VsrError(
            f"{source}: holds no image; put the image of each text beside it under its name, e.g. 01.jpg and 01.txt"
        )
    return reader.read(str(source))


def story_up_to(story: Story, frame: int | None) -> Story:
    """Return a story without the frames after one, counted from 1; all of it for None.

    Raises VsrError if it has no such frame.
    """
    if frame is None:
        return story
    count = len(story.frames)
    if not isinstance(frame, int) or not 1 <= frame <= count:
        raise VsrError(
            f"{story.id}: has no frame {frame} to go on from; name one from 1 to {count}"
            if count
            else f"{story.id}: a story without frames; add pairs such as 01.jpg and 01.txt"
        )
    notes = tuple(note for note in story.notes if note.frame is None or note.frame < frame)
    return replace(story, frames=story.frames[:frame], notes=notes)


def notes_on(story: Story, context_frames: int) -> list[str]:
    """Return which frames are the context, and the notes on the story as a whole and on these frames."""
    lines = []
    if (count := len(story.frames)) != context_frames:
        used = (
            f"the last {context_frames} of them are the context"
            if count > context_frames
            else f"fewer than {context_frames}: the last one is repeated to fill the context"
        )
        lines.append(f"{story.id} has {count} {'frame' if count == 1 else 'frames'}, {used}")
    first = count - context_frames
    notes = [note.detail for note in story.notes if note.frame is None or note.frame >= first]
    lines += [f"{story.id}: {detail}" for detail in notes[:NOTES]]
    if notes[NOTES:]:
        lines.append(f"{story.id}: and {len(notes) - NOTES} more; 'vsr data lint' lists them all")
    return lines
