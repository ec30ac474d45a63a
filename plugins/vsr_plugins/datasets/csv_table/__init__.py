"""The dataset `csv`: a table with one frame per row, next to its images."""

from __future__ import annotations

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class CsvOptions(Options):
    """The columns of the table."""

    story: str = Field("story", description="the column with the id of a row's story")
    image: str = Field("image", description="the column with the image's path, relative to the table's folder")
    text: str = Field("text", description="the column with the frame's text")
    order: str | None = Field(None, description="the column that orders a story's frames; null: the order of the rows")
    group: str | None = Field(None, description="the column with the group, whose stories stay in one split")
    split: str | None = Field(None, description="the column with train, validation or test; null: vsr splits")
    delimiter: str | None = Field(
        None, pattern=r'^[^"\r\n]$', description="the separator of cells; null: found in the file"
    )


@hookimpl
def vsr_datasets() -> list[Component]:
    """Return the one dataset of this plugin."""
    return [
        Component(
            name="csv",
            summary="a .csv or .tsv file, one frame per row: its story, the relative path of its image, its text",
            build="vsr_plugins.datasets.csv_table.reader:build",
            options=CsvOptions,
        )
    ]
