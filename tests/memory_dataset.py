"""Stories in memory, and how to prepare them."""

import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from vsr_cli.api import Rejected, Story
from vsr_cli.config.experiment import resolve_prepare
from vsr_cli.config.resolve import Layer, parse_set
from vsr_cli.data.preparation.prepare import prepare_stories
from vsr_cli.plugin.discovery import registry

CHOSEN = {"dataset": {"name": "storyworld"}, "visual": {"name": "tiny-cnn"}, "text": {"name": "tiny-text"}}


class MemoryDataset:
    """A dataset of these stories; an exception among them is raised when its turn comes."""

    def __init__(self, *stories: Story | Rejected | BaseException) -> None:
        self.stories = stories

    def read(self, source: str | None) -> Iterator[Story | Rejected]:
        for story in self.stories:
            if isinstance(story, BaseException):
                raise story
            yield story

    def describe(self, source: str | None) -> dict[str, str]:
        return {"source": "memory"}


def png(image: Image.Image | np.ndarray) -> bytes:
    """Encode an image as PNG."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    image.save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()


def noise(*seed: int, size: tuple[int, int] = (24, 12)) -> np.ndarray:
    """Return an image of noise, of this width and height."""
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def noise_png(*seed: int, size: tuple[int, int] = (24, 12)) -> bytes:
    """Return an image of noise as PNG."""
    return png(noise(*seed, size=size))


def with_frame(story: Story, index: int, **changes: object) -> Story:
    """Return a story with another image, text or entities in one frame."""
    frames = list(story.frames)
    frames[index] = replace(frames[index], **changes)
    return replace(story, frames=tuple(frames))


def prepare_config_of(assignments: Iterable[str]):
    return resolve_prepare(registry(), preset="tiny", layers=[Layer("test", CHOSEN), *parse_set(assignments)])


def prepare_in_memory(out: Path, *stories: Story | Rejected | BaseException, assignments: Iterable[str] = ()):
    """Prepare stories and return the prepared data."""
    prepared, _ = prepare_stories(prepare_config_of(assignments), MemoryDataset(*stories), None, out)
    assert prepared is not None
    return prepared
