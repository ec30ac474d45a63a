"""Fusion in which images look at texts and texts at images."""

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class CrossAttentionOptions(Options):
    """The options of `cross-attention`."""

    heads: int = Field(4, ge=1, description="attention heads, which share the model's width evenly")


@hookimpl
def vsr_fusions() -> list[Component]:
    """Declare `cross-attention`."""
    return [
        Component(
            name="cross-attention",
            summary="each image attends to the texts told so far and each text to the images shown so far",
            build="vsr_plugins.fusions.cross_attention.model:build",
            options=CrossAttentionOptions,
        )
    ]
