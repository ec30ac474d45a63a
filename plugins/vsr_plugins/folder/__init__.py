"""A dataset for anyone's own stories: a folder of story folders."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class FolderOptions(Options):
    """Where to learn which stories belong together."""

    group_csv: Path | None = Field(
        None, description="a CSV with a row a story; stories of one group never part across splits"
    )
    group_column: str = Field("image_group", description="the CSV's column that names the group")
    story_column: str = Field("story_folder", description="the CSV's column that names the story's folder")


@hookimpl
def vsr_datasets() -> list[Component]:
    """Give the one dataset of this plugin."""
    return [
        Component(
            name="folder",
            summary="a folder of story folders, each with pairs 01.jpg and 01.txt or a story.json",
            build="vsr_plugins.folder.reader:build",
            options=FolderOptions,
        )
    ]
