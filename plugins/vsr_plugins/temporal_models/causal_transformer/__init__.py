"""A transformer over the frames of a story."""

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class TransformerOptions(Options):
    """The options of the temporal model `transformer`."""

    layers: int = Field(2, ge=1, le=1000, description="layers of attention and feed-forward, one above the other")
    heads: int = Field(4, ge=1, description="attention heads of a layer, which share the model's width evenly")
    feedforward: int | None = Field(None, ge=1, description="width of the feed-forward part; none: 4 times the model's")
    dropout: float = Field(0.1, ge=0.0, lt=1.0, description="share dropped of what each layer adds and attends to")


@hookimpl
def vsr_temporal_models() -> list[Component]:
    """Declare the temporal model `transformer`."""
    return [
        Component(
            name="transformer",
            summary="a causal transformer over the frames; the summary is its last real step",
            build="vsr_plugins.temporal_models.causal_transformer.model:build",
            options=TransformerOptions,
        )
    ]
