"""A recurrent text decoder that looks back at the context while it writes."""

from typing import Literal

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class AttentionGruOptions(Options):
    """The options of the text decoder `attention-gru`."""

    length: int = Field(32, ge=2, description="most tokens written, and most of a target that is learnt from")
    score: Literal["product", "additive"] = Field(
        "product", description="how a state and a place match: by a product (Luong) or a small network (Bahdanau)"
    )
    words: bool = Field(True, description="look at each word of the context, and not at its frames alone")
    embedding: int | None = Field(None, ge=1, description="width of a token's embedding; none: the model's")
    hidden: int | None = Field(None, ge=1, description="width of the recurrent state; none: the model's")
    layers: int = Field(1, ge=1, le=1000, description="recurrent layers, one above the other")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="share dropped of embeddings and of states")


@hookimpl
def vsr_text_decoders() -> list[Component]:
    """Declare the text decoder `attention-gru`."""
    return [
        Component(
            name="attention-gru",
            summary="a GRU that attends to the frames and words of the context at each token",
            build="vsr_plugins.text_decoders.attention_gru.model:build",
            options=AttentionGruOptions,
        )
    ]
