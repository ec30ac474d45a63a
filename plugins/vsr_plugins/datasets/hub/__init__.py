"""The dataset `hf`: any dataset of the Hugging Face Hub, or its files in a folder, with columns named by options."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class HubOptions(Options):
    """The layout of the rows and the columns."""

    layout: Literal["stories", "frames"] = Field(
        "stories", description="a row is a story with lists of images and texts, or a frame with one of each"
    )
    images: str = Field("images", description="the column of images: one list per row, or one value in layout frames")
    texts: str = Field("texts", description="the column of texts: one list per row, or one value in layout frames")
    story: str | None = Field(
        None, description="the column of the story's id; required in layout frames, else null: split and row"
    )
    order: str | None = Field(
        None, description="in layout frames, the column that orders a story's rows; null: the order in the file"
    )
    group: str | None = Field(None, description="the column with the group, whose stories stay in one split")
    config: str | None = Field(None, description="the configuration (subset) of a dataset with several")
    revision: str | None = Field(
        None, description="branch, tag or commit on the hub; null: the newest (not for local files)"
    )
    streaming: bool = Field(False, description="stream from the hub without a copy on disk (not for local files)")


@hookimpl
def vsr_datasets() -> list[Component]:
    """Return the one dataset of this plugin."""
    return [
        Component(
            name="hf",
            summary="any dataset of the Hugging Face Hub, or a local folder or file; options name the columns",
            build="vsr_plugins.datasets.hub.reader:build",
            options=HubOptions,
        )
    ]
