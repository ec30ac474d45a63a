"""Text encoders of the transformers library, frozen up to a layer."""

from typing import Literal

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class HfTextOptions(Options):
    """The options of `hf-text`."""

    model: str = Field(
        "sentence-transformers/all-MiniLM-L6-v2",
        description="an encoder's id on the Hugging Face hub, or the folder of one (config.json and weights)",
    )
    tokenizer: str | None = Field(
        None, description="a tokenizer's id, folder or tokenizer.json file; none: the model's own"
    )
    weights: Literal["pretrained", "random"] = Field(
        "pretrained", description="'pretrained', or 'random' to take only the model's structure"
    )
    pooling: Literal["cls", "mean"] = Field(
        "mean", description="the state of the first token, or the mean over the real ones"
    )
    frozen_layers: int | Literal["all"] = Field(
        "all",
        description="layers, from the bottom, that do not train; the embeddings below them do not either; "
        "0: everything trains; all: the whole encoder is frozen",
    )
    length: int = Field(32, ge=4, description="most tokens read of a text, the first and last included")


class DistilBertOptions(HfTextOptions):
    """The options of `distilbert`."""

    model: str = Field(
        "distilbert-base-uncased",
        description="a DistilBERT's id on the Hugging Face hub, or the folder of one",
    )
    pooling: Literal["cls", "mean"] = Field(
        "cls", description="the state of the first token, or the mean over the real ones"
    )
    frozen_layers: int | Literal["all"] = Field(
        4,
        description="layers, of 6, from the bottom, that do not train; the embeddings below them do not "
        "either; 0: everything trains",
    )


@hookimpl
def vsr_text_encoders() -> list[Component]:
    """Declare `distilbert` and `hf-text`."""
    return [
        Component(
            name="distilbert",
            summary="DistilBERT with its two upper layers trained; the state of [CLS] is the embedding",
            build="vsr_plugins.transformers_encoders.model:build",
            options=DistilBertOptions,
        ),
        Component(
            name="hf-text",
            summary="any text encoder of the transformers library, by default a frozen MiniLM",
            build="vsr_plugins.transformers_encoders.model:build",
            options=HfTextOptions,
        ),
    ]
