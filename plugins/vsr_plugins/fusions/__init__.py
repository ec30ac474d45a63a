"""Fusions: join the image embedding and the text embedding of each frame."""

from __future__ import annotations

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class BilinearOptions(Options):
    """Options of `bilinear`."""

    rank: int | None = Field(
        None,
        ge=1,
        description="size of the shared space in which image and text are multiplied; default: the model width",
    )


class CrossAttentionOptions(Options):
    """Options of `cross-attention`."""

    heads: int = Field(4, ge=1, description="attention heads; the model width must be a multiple of it")


@hookimpl
def vsr_fusions() -> list[Component]:
    """Declare the fusions."""
    return [
        Component(
            name="concat",
            summary="a linear layer over the concatenated image and text embeddings",
            build="vsr_plugins.fusions.fusions:Concat",
        ),
        Component(
            name="bilinear",
            summary="low-rank bilinear pooling: elementwise products of the projected embeddings",
            build="vsr_plugins.fusions.fusions:Bilinear",
            options=BilinearOptions,
        ),
        Component(
            name="gated",
            summary="a learned gate mixes image and text in each dimension of the embedding",
            build="vsr_plugins.fusions.fusions:Gated",
        ),
        Component(
            name="image-only",
            summary="the image embedding alone: an ablation without texts",
            build="vsr_plugins.fusions.fusions:ImageOnly",
        ),
        Component(
            name="text-only",
            summary="the text embedding alone: an ablation without images",
            build="vsr_plugins.fusions.fusions:TextOnly",
        ),
        Component(
            name="cross-attention",
            summary="each image attends to the texts so far, and each text to the images so far",
            build="vsr_plugins.fusions.fusions:CrossAttention",
            options=CrossAttentionOptions,
        ),
    ]
