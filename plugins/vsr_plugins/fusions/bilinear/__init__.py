"""Fusion by a product of the two embeddings."""

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class BilinearOptions(Options):
    """The options of `bilinear`."""

    rank: int | None = Field(None, ge=1, description="products of image and text taken; none: the model's width")


@hookimpl
def vsr_fusions() -> list[Component]:
    """Declare `bilinear`."""
    return [
        Component(
            name="bilinear",
            summary="a linear layer over products of the two embeddings of a frame: what holds of both together",
            build="vsr_plugins.fusions.bilinear.model:build",
            options=BilinearOptions,
        )
    ]
