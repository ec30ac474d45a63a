"""The dataset `story-reasoning`: film stills with texts whose characters, actions and places are marked."""

from __future__ import annotations

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class StoryReasoningOptions(Options):
    """The revision of the dataset, and whether to stream it."""

    revision: str | None = Field(
        None,
        description="branch, tag or commit on the hub; null: the newest (not for a local folder)",
    )
    streaming: bool = Field(False, description="stream from the hub without a copy on disk (not for a local folder)")


@hookimpl
def vsr_datasets() -> list[Component]:
    """Return the one dataset of this plugin."""
    return [
        Component(
            name="story-reasoning",
            summary="StoryReasoning from the Hugging Face hub, or from a folder in the hub's parquet layout",
            build="vsr_plugins.datasets.story_reasoning.reader:build",
            options=StoryReasoningOptions,
        )
    ]
