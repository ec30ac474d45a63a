"""The dataset `folder`: a folder of story folders."""

from __future__ import annotations

from vsr_cli.api import Component, hookimpl


@hookimpl
def vsr_datasets() -> list[Component]:
    """Return the one dataset of this plugin."""
    return [
        Component(
            name="folder",
            summary="a folder of story folders, each with pairs 01.jpg and 01.txt or a story.json",
            build="vsr_plugins.datasets.folder.reader:build",
        )
    ]
