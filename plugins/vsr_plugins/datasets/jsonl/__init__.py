"""The dataset `jsonl`: a file of JSON lines with one story per line, next to its images."""

from __future__ import annotations

from vsr_cli.api import Component, hookimpl


@hookimpl
def vsr_datasets() -> list[Component]:
    """Return the one dataset of this plugin."""
    return [
        Component(
            name="jsonl",
            summary='a .jsonl file, one story per line: {"frames": [{"image": "relative path", "text": "..."}]}',
            build="vsr_plugins.datasets.jsonl.reader:build",
        )
    ]
