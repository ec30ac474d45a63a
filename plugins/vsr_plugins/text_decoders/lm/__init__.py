"""A language model of the transformers library as the text decoder."""

from typing import Literal

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class LmDecoderOptions(Options):
    """The options of the text decoder `lm`."""

    model: str = Field(
        "HuggingFaceTB/SmolLM2-135M",
        description="a causal language model's id on the Hugging Face hub, or the folder of one",
    )
    weights: Literal["pretrained", "random"] = Field(
        "pretrained", description="'pretrained', or 'random' to take only the model's structure"
    )
    trained: Literal["prefix", "lora", "all"] = Field(
        "prefix", description="what trains: the prefix alone, low-rank updates of the layers too, or all of the model"
    )
    rank: int = Field(8, ge=1, description="trained=lora: rank of the updates")
    prefix: int = Field(8, ge=1, description="tokens' embeddings, made from the narrative, that the text follows")
    length: int = Field(48, ge=2, description="most tokens written, and most of a target that is learnt from")


@hookimpl
def vsr_text_decoders() -> list[Component]:
    """Declare the text decoder `lm`."""
    return [
        Component(
            name="lm",
            summary="a pretrained causal language model that goes on from a learnt prefix",
            build="vsr_plugins.text_decoders.lm.model:build",
            options=LmDecoderOptions,
            requires="vsr_plugins.text_decoders.lm.requirements:missing",
        )
    ]
