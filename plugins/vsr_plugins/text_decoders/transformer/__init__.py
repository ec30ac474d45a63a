"""A transformer text decoder."""

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class TransformerDecoderOptions(Options):
    """The options of the text decoder `transformer`."""

    length: int = Field(32, ge=2, description="most tokens written, and most of a target that is learnt from")
    words: bool = Field(True, description="look at each word of the context, and not at its frames alone")
    layers: int = Field(2, ge=1, le=1000, description="layers, one above the other")
    hidden: int | None = Field(None, ge=1, description="width of the states; none: the model's")
    heads: int = Field(4, ge=1, description="heads of each attention; they share the width of the states")
    feedforward: int = Field(4, ge=1, description="width of the feed-forward layers, as a multiple of the states'")
    dropout: float = Field(0.1, ge=0.0, lt=1.0, description="share dropped of embeddings and of what layers add")
    tied: bool = Field(True, description="score tokens by the embeddings by which they are read")


@hookimpl
def vsr_text_decoders() -> list[Component]:
    """Declare the text decoder `transformer`."""
    return [
        Component(
            name="transformer",
            summary="a causal transformer that attends to the frames and words of the context",
            build="vsr_plugins.text_decoders.transformer.model:build",
            options=TransformerDecoderOptions,
        )
    ]
