"""Fusion by a learned gate."""

from vsr_cli.api import Component, hookimpl


@hookimpl
def vsr_fusions() -> list[Component]:
    """Declare `gated`."""
    return [
        Component(
            name="gated",
            summary="a learned gate shares each number of a frame's embedding out between image and text",
            build="vsr_plugins.fusions.gated.model:build",
        )
    ]
