"""A recurrent text decoder."""

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class GruDecoderOptions(Options):
    """The options of the text decoder `gru`."""

    length: int = Field(32, ge=2, description="most tokens written, and most of a target that is learnt from")
    embedding: int | None = Field(None, ge=1, description="width of a token's embedding; none: the model's")
    hidden: int | None = Field(None, ge=1, description="width of the recurrent state; none: the model's")
    layers: int = Field(1, ge=1, le=1000, description="recurrent layers, one above the other")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="share dropped of embeddings and of states")


@hookimpl
def vsr_text_decoders() -> list[Component]:
    """Declare the text decoder `gru`."""
    return [
        Component(
            name="gru",
            summary="a GRU started from the summary, writing one token after the other",
            build="vsr_plugins.text_decoders.gru.model:build",
            options=GruDecoderOptions,
        )
    ]
