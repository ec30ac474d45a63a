"""A dataset in one file of JSON lines, a story a line, beside its pictures."""

from __future__ import annotations

from vsr_cli.api import Component, hookimpl


@hookimpl
def vsr_datasets() -> list[Component]:
    """Return the one dataset of this plugin."""
    return [
        Component(
            name="jsonl",
            summary='a .jsonl file, one story a line: {"frames": [{"image": "relative path", "text": "..."}]}',
            build="vsr_plugins.datasets.jsonl.reader:build",
        )
    ]
