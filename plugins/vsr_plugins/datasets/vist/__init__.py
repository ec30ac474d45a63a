"""The dataset `vist` (also called SIND): stories that people wrote about photo albums."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class VistOptions(Options):
    """Where the photos are, and which form of the texts to take."""

    images: Path | None = Field(
        None, description="the folder of the photos, named by id; null: the folder 'images' next to the annotations"
    )
    text: Literal["original", "tokenised"] = Field(
        "original", description="the text as it was told, or the annotations' tokenised one; the other where it lacks"
    )


@hookimpl
def vsr_datasets() -> list[Component]:
    """Return the one dataset of this plugin."""
    return [
        Component(
            name="vist",
            summary="VIST (SIND): {train,val,test}.story-in-sequence.json beside a folder of photos",
            build="vsr_plugins.datasets.vist.reader:build",
            options=VistOptions,
        )
    ]
