"""Stories that vsr draws and tells itself, from a seed: for trying everything without a download."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from vsr_cli.api import Component, Options, RandomSeed, hookimpl


class StoryWorldOptions(Options):
    """How many stories, which, and how large their pictures."""

    stories: int = Field(400, ge=1, description="How many stories to tell; the first ones are always the same.")
    seed: RandomSeed = Field(0, description="Another seed gives other stories of the same world.")
    width: int = Field(480, ge=64, le=4096, description="Width of a picture in pixels.")
    height: int = Field(208, ge=32, le=2048, description="Height of a picture in pixels.")


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
