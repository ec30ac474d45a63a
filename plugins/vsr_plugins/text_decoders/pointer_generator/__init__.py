"""A text decoder that can copy words of the context."""

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class CopyDecoderOptions(Options):
    """The options of the text decoder `copy`."""

    length: int = Field(32, ge=2, description="most tokens written, and most of a target that is learnt from")
    coverage: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="weight, in training, of not looking at a word of the context again"
    )
    embedding: int | None = Field(None, ge=1, description="width of a token's embedding; none: the model's")
    hidden: int | None = Field(None, ge=1, description="width of the recurrent state; none: the model's")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="share dropped of embeddings and of states")


@hookimpl
def vsr_text_decoders() -> list[Component]:
    """Declare the text decoder `copy`."""
    return [
        Component(
            name="copy",
            summary="a pointer-generator: a GRU that writes a word of its own or copies one of the context",
            build="vsr_plugins.text_decoders.pointer_generator.model:build",
            options=CopyDecoderOptions,
        )
    ]
