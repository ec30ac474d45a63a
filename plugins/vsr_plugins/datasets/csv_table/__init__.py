"""A dataset in one table, a frame a row, beside its pictures."""

from __future__ import annotations

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class CsvOptions(Options):
    """Which columns of the table mean what."""

    story: str = Field("story", description="the column that names a row's story")
    image: str = Field("image", description="the column with the picture's path, relative to the table's folder")
    text: str = Field("text", description="the column with the frame's text")
    order: str | None = Field(None, description="the column that orders a story's frames; none means the rows' order")
    group: str | None = Field(None, description="the column that names a group, whose stories never part across splits")
    split: str | None = Field(None, description="the column that says train, validation or test; none means vsr splits")
    delimiter: str | None = Field(
        None, pattern=r'^[^"\r\n]$', description="what parts the cells; none means a tab in a .tsv, a comma elsewhere"
    )


@hookimpl
def vsr_datasets() -> list[Component]:
    """Return the one dataset of this plugin."""
    return [
        Component(
            name="csv",
            summary="a .csv or .tsv file, one frame a row: which story, the picture's relative path, the text",
            build="vsr_plugins.datasets.csv_table.reader:build",
            options=CsvOptions,
        )
    ]
