"""Stories to begin with: those of the test split of a run's data, or embedded ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..api import is_blank
from ..data.images import decode_image
from ..data.prepared import Prepared, open_prepared
from ..errors import VsrError
from ..python.model import Model
from ..report.story_page import frame_image
from ..report.storyboard import save_image
from ..runs.run import Run
from ..workflows.settings import load_registry
from ..workflows.stories import unseen_stories

MOST = 12
LONGEST_TITLE = 60


@dataclass(frozen=True)
class ExampleStory:
    """A story that a visitor can choose."""

    title: str
    images: tuple[Path, ...]
    texts: tuple[str, ...]

    @property
    def frames(self) -> tuple[tuple[Path, ...], tuple[str, ...]]:
        """The images and the texts."""
        return self.images, self.texts


def example_stories(model: Model, folder: Path) -> list[ExampleStory]:
    """Return a few stories that the model was not trained on, and write their images into a folder."""
    prepared = _data_of(model)
    stories = list(_test_stories(prepared, folder, model.context_frames)) if prepared else []
    return stories or list(_embedded_stories(folder, model.context_frames))


def _data_of(model: Model) -> Prepared | None:
    """Return the prepared data of a run, if it is still what the run was trained on."""
    try:
        prepared = open_prepared(Path(Run(model.run).facts()["data"]))
        return prepared if prepared.fingerprint == model.config["data"]["fingerprint"] else None
    except VsrError:
        return None


def _test_stories(prepared: Prepared, folder: Path, count: int) -> Iterator[ExampleStory]:
    names = list(dict.fromkeys(prepared.windows("test").stories))[:MOST]
    for number, name in enumerate(names, start=1):
        images: list[Path] = []
        texts: list[str] = []
        for frame in prepared.story(name).frames[:count]:
            image = frame_image(prepared, frame)
            if image is None or frame.text is None or is_blank(frame.text):
                break
            images.append(folder / f"{number:02}-{frame.index + 1:02}.png")
            texts.append(frame.text)
            save_image(image, images[-1])
        if images:
            yield ExampleStory(_title(number, texts[0]), tuple(images), tuple(texts))


def _embedded_stories(folder: Path, count: int) -> Iterator[ExampleStory]:
    for number, story in enumerate(unseen_stories(load_registry(), MOST), start=1):
        frames = story.frames[:count]
        paths = [folder / f"{number:02}-{index:02}.png" for index in range(1, len(frames) + 1)]
        for frame, path in zip(frames, paths, strict=True):
            assert frame.image is not None
            save_image(decode_image(frame.image, where=story.id), path)
        texts = [frame.text or "" for frame in frames]
        yield ExampleStory(_title(number, texts[0]), tuple(paths), tuple(texts))


def _title(number: int, text: str) -> str:
    """Return the beginning of a story as the name of a choice; its number makes it unique."""
    line = " ".join(text.split())
    return f"{number}. {line if len(line) <= LONGEST_TITLE else f'{line[: LONGEST_TITLE - 1].rstrip()}…'}"
