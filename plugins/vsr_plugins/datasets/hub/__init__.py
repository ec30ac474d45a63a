"""Any dataset of the Hugging Face hub, or its files in a folder, with columns mapped by options."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class HubOptions(Options):
    """How the rows make stories, and which columns mean what."""

    layout: Literal["stories", "frames"] = Field(
        "stories", description="a row is a story with lists of images and texts, or a frame with one of each"
    )
    images: str = Field("images", description="the column of the images: a list a row, or one a row in layout frames")
    texts: str = Field("texts", description="the column of the texts: a list a row, or one a row in layout frames")
    story: str | None = Field(
        None, description="the column of the story's id; layout frames needs it, else none means split and row"
    )
    order: str | None = Field(
        None, description="in layout frames, the column that orders a story's rows; none means as they come"
    )
    group: str | None = Field(None, description="the column of a group, whose stories never part across splits")
    config: str | None = Field(None, description="which configuration (subset), of a dataset with several")
    revision: str | None = Field(
        None, description="branch, tag or commit on the hub; none means the newest (local files take none)"
    )
    streaming: bool = Field(
        False, description="read from the hub as it comes, keeping no copy on disk (local files take none)"
    )


@hookimpl
def vsr_datasets() -> list[Component]:
    """Return the one dataset of this plugin."""
    return [
        Component(
            name="hf",
            summary="any dataset of the Hugging Face hub, or a folder or file in its forms, columns named by options",
            build="vsr_plugins.datasets.hub.reader:build",
            options=HubOptions,
        )
    ]
