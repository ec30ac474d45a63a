"""Whether a prediction goes on about the same people, things and places, where the source marks who is who."""

from __future__ import annotations

from vsr_cli.api import Component, hookimpl


@hookimpl
def vsr_metrics() -> list[Component]:
    """Return the one metric of this plugin."""
    return [
        Component(
            name="entities",
            summary="F1 of naming the context's entities that recur in the target, where the source marks them",
            build="vsr_plugins.metrics.entity.entity_f1:build",
        )
    ]
