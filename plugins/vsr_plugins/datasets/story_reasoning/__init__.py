"""The dataset StoryReasoning: film stills with texts whose characters, actions and places are marked."""

from __future__ import annotations

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class StoryReasoningOptions(Options):
    """Which state of the dataset to read, and how."""

    revision: str | None = Field(
        None,
        description="branch, tag or commit on the hub; none means the newest (a local folder takes none)",
    )
    streaming: bool = Field(
        False, description="read from the hub as it comes, keeping no copy on disk (a local folder takes none)"
    )


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
