"""Text encoders of the transformers library, frozen up to a layer."""

from typing import Literal

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class HfTextOptions(Options):
    """The options of `hf-text`."""

    model: str = Field(
        "sentence-transformers/all-MiniLM-L6-v2",
        description="an encoder's id on the Hugging Face hub, or the folder of one (config.json and weights): "
        "BERT and its kin, a sentence-transformers model, or the text half of a CLIP or SigLIP",
    )
    tokenizer: str | None = Field(
        None, description="a tokenizer's id, folder or tokenizer.json file; none: the model's own"
    )
    weights: Literal["pretrained", "random"] = Field(
        "pretrained", description="'pretrained', or 'random' to take only the model's structure"
    )
    pooling: Literal["own", "cls", "mean", "last"] = Field(
        "own",
        description="the state of the first token, the mean over the real ones, or the state of the last; 'own': as "
        "its sentence-transformers folder says, else the last of a CLIP or SigLIP and the mean of others",
    )
    layers: Literal["last", "spread"] = Field(
        "last",
        description="'last': the last layer's states; 'spread': beside them those of the embeddings and of the middle "
        "layer, which keep the words themselves",
    )
    frozen_layers: int | Literal["all"] = Field(
        "all",
        description="layers, from the bottom, that do not train; the embeddings below them do not either; "
        "0: everything trains; all: the whole encoder is frozen",
    )
    length: int = Field(
        128,
        ge=4,
        description="most tokens read of a text, the first and last included; a text longer than the model reads is "
        "read in windows, whose vectors are averaged by their tokens",
    )


class DistilBertOptions(HfTextOptions):
    """The options of `distilbert`."""

    model: str = Field(
        "distilbert-base-uncased",
        description="a DistilBERT's id on the Hugging Face hub, or the folder of one",
    )
    pooling: Literal["own", "cls", "mean", "last"] = Field(
        "cls", description="the state of the first token, the mean over the real ones, or the state of the last"
    )
    frozen_layers: int | Literal["all"] = Field(
        4,
        description="layers, of 6, from the bottom, that do not train; the embeddings below them do not "
        "either; 0: everything trains",
    )
    length: int = Field(32, ge=4, description="most tokens read of a text, the first and last included")


@hookimpl
def vsr_text_encoders() -> list[Component]:
    """Declare `distilbert` and `hf-text`."""
    return [
        Component(
            name="distilbert",
            summary="DistilBERT with its two upper layers trained; the state of [CLS] is the embedding",
            build="vsr_plugins.text_encoders.pretrained.model:build",
            options=DistilBertOptions,
            requires="vsr_plugins.text_encoders.pretrained.requirements:missing",
        ),
        Component(
            name="hf-text",
            summary="any text encoder of the transformers library, by default a frozen MiniLM",
            build="vsr_plugins.text_encoders.pretrained.model:build",
            options=HfTextOptions,
            requires="vsr_plugins.text_encoders.pretrained.requirements:missing",
        ),
    ]
