"""The dataset `storyworld`: illustrated stories generated from a random seed, to try everything without a download."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from vsr_cli.api import Component, Options, RandomSeed, hookimpl


class StoryWorldOptions(Options):
    """The number of stories, their seed, and the size of their images."""

    stories: int = Field(400, ge=1, description="number of stories; the first ones are always the same")
    seed: RandomSeed = Field(0, description="random seed of the stories")
    width: int = Field(480, ge=64, le=4096, description="width of an image in pixels")
    height: int = Field(208, ge=32, le=2048, description="height of an image in pixels")


@hookimpl
def vsr_datasets() -> Iterable[Component]:
    """Return the dataset."""
    return [
        Component(
            name="storyworld",
            summary="picture-book stories from a seed, whose fifth frame follows from the first four",
            build="vsr_plugins.datasets.storyworld.reader:build",
            options=StoryWorldOptions,
        )
    ]
