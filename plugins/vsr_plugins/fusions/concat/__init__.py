"""Fusion by concatenation."""

from vsr_cli.api import Component, hookimpl


@hookimpl
def vsr_fusions() -> list[Component]:
    """Declare `concat`."""
    return [
        Component(
            name="concat",
            summary="a linear layer over the two embeddings of a frame side by side",
            build="vsr_plugins.fusions.concat.model:build",
        )
    ]
