"""Stories as Python programs have them: folders, or pairs of an image and a text."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence, Set
from typing import TypeAlias, Union

from ..api import Dataset, Frame, Story
from ..errors import VsrError
from ..inference.story_folders import read_one_story
from .images import ImageLike, image_source
from .settings import path_of

Pairs: TypeAlias = Sequence[tuple[ImageLike, str]]
StoryLike: TypeAlias = Union[str, "os.PathLike[str]", Pairs, Story]
"""A folder of pairs or its story.json, the pairs (image, text) themselves, or a `vsr_cli.api.Story`."""
NAME = "story"
"""The id of a story that is made of pairs."""
UNORDERED = (str, bytes, os.PathLike, Set, Mapping)
"""What has a length, but is no list of frames in their order."""


def is_story(value: object) -> bool:
    """Return whether a value is one story rather than a sequence of stories."""
    if isinstance(value, str | os.PathLike | Story):
        return True
    return isinstance(value, list | tuple) and any(_is_pair(each) for each in value)


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2 and isinstance(value[1], str | None)


def read_story(reader: Dataset, value: StoryLike, *, name: str = NAME) -> Story:
    """Return a story. Raises VsrError if it cannot be read, or if its folder holds several."""
    if isinstance(value, Story):
        return value
    if isinstance(value, str | os.PathLike):
        # Absolute, as its images are read again when it is saved.
        return read_one_story(reader, path_of(value, name).absolute())
    if not isinstance(value, list | tuple):
        raise VsrError(
            f"{name}: not a story (got {type(value).__name__}); pass a folder, or a list of pairs (image, text)"
        )
    for number, pair in enumerate(value, start=1):
        if not _is_pair(pair):
            raise VsrError(
                f"{name}, frame {number}: not a pair (image, text) (got {type(pair).__name__}); pass a tuple of both"
            )
    return story_of([image for image, _ in value], [text for _, text in value], name=name)


def story_of(images: Sequence[ImageLike] | None, texts: Sequence[str] | None, *, name: str = NAME) -> Story:
    """Return the story of some images and their texts. Raises VsrError if these are not as many, or not of the type."""
    if images is None or texts is None:
        missing = "images" if images is None else "texts"
        raise VsrError(f"{missing}: missing; a story needs both, images=[...] and texts=[...]")
    if isinstance(texts, UNORDERED) or not hasattr(texts, "__len__"):
        raise VsrError(f"texts: not a list of texts (got {type(texts).__name__}); pass one text per image")
    if isinstance(images, UNORDERED) or not hasattr(images, "__len__"):
        raise VsrError(f"images: not a list of images (got {type(images).__name__}); pass one image per text")
    if len(images) != len(texts):
        raise VsrError(f"images, texts: not as many (got {len(images)} and {len(texts)}); pass one text per image")
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            raise VsrError(f"{name}, frame {number}: its text is not a string (got {type(text).__name__})")
    sources = [image_source(image, where=f"{name}, image {number}") for number, image in enumerate(images, start=1)]
    frames = tuple(Frame(image=image, text=text) for image, text in zip(sources, texts, strict=True))
    return Story(id=name, frames=frames)
