"""Datasets: folders, CSV and JSON lines files, VIST, StoryReasoning, any dataset of the Hub, and a generated one."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from vsr_cli.api import Component, Options, RandomSeed, hookimpl


class CsvOptions(Options):
    """The columns of the table."""

    story: str = Field("story", description="the column with the id of a row's story")
    image: str = Field("image", description="the column with the image's path, relative to the table's folder")
    text: str = Field("text", description="the column with the frame's text")
    order: str | None = Field(None, description="the column that orders a story's frames; null: the order of the rows")
    group: str | None = Field(None, description="the column with the group, whose stories stay in one split")
    split: str | None = Field(None, description="the column with train, validation or test; null: vsr splits")


class VistOptions(Options):
    """Where the photos are."""

    images: Path | None = Field(
        None, description="the folder of the photos, named by id; null: the folder 'images' next to the annotations"
    )


class StoryReasoningOptions(Options):
    """The revision of the dataset, and whether to stream it."""

    revision: str | None = Field(
        None,
        description="branch, tag or commit on the hub; null: the newest (not for a local folder)",
    )
    streaming: bool = Field(False, description="stream from the hub without a copy on disk (not for a local folder)")


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


class StoryWorldOptions(Options):
    """The number of stories, their seed, and the size of their images."""

    stories: int = Field(400, ge=1, description="number of stories; the first ones are always the same")
    seed: RandomSeed = Field(0, description="random seed of the stories")
    width: int = Field(480, ge=64, le=4096, description="width of an image in pixels")
    height: int = Field(208, ge=32, le=2048, description="height of an image in pixels")


@hookimpl
def vsr_datasets() -> list[Component]:
    """Return the datasets."""
    return [
        Component(
            name="folder",
            summary="a folder of story folders, each with pairs 01.jpg and 01.txt or a story.json",
            build="vsr_plugins.datasets.folder:build",
        ),
        Component(
            name="csv",
            summary="a .csv or .tsv file, one frame per row: its story, the relative path of its image, its text",
            build="vsr_plugins.datasets.csv_table:build",
            options=CsvOptions,
        ),
        Component(
            name="jsonl",
            summary='a .jsonl file, one story per line: {"frames": [{"image": "relative path", "text": "..."}]}',
            build="vsr_plugins.datasets.jsonl:build",
        ),
        Component(
            name="vist",
            summary="VIST (SIND): {train,val,test}.story-in-sequence.json beside a folder of photos",
            build="vsr_plugins.datasets.vist:build",
            options=VistOptions,
        ),
        Component(
            name="story-reasoning",
            summary="StoryReasoning from the Hugging Face hub, or from a folder in the hub's parquet layout",
            build="vsr_plugins.datasets.story_reasoning.reader:build",
            options=StoryReasoningOptions,
        ),
        Component(
            name="hf",
            summary="any dataset of the Hugging Face Hub, or a local folder or file; options name the columns",
            build="vsr_plugins.datasets.hf:build",
            options=HubOptions,
        ),
        Component(
            name="storyworld",
            summary="picture-book stories from a seed, whose fifth frame follows from the first four",
            build="vsr_plugins.datasets.storyworld.reader:build",
            options=StoryWorldOptions,
        ),
    ]


@hookimpl
def vsr_metrics() -> list[Component]:
    """Declare the metrics of storyworld, which read the truth of an image by a network that ships with it."""
    return [
        Component(
            name="place",
            summary="share of predicted images that show the right place, on storyworld",
            build="vsr_plugins.datasets.storyworld.metrics:build_place",
        ),
        Component(
            name="time",
            summary="share of predicted images that show the right time of day, on storyworld",
            build="vsr_plugins.datasets.storyworld.metrics:build_time",
        ),
        Component(
            name="characters",
            summary="F1 of the characters in predicted images, on storyworld",
            build="vsr_plugins.datasets.storyworld.metrics:build_characters",
        ),
    ]
