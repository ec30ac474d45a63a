"""Text encoders: turn the text of each frame into one embedding."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class HfTextOptions(Options):
    """Options of `hf-text`."""

    model: str = Field(
        "sentence-transformers/all-MiniLM-L6-v2",
        description="encoder: a Hugging Face Hub id or a local folder (config.json and weights): BERT and "
        "similar, a sentence-transformers model, or the text encoder of CLIP or SigLIP",
    )
    tokenizer: str | None = Field(
        None, description="tokenizer: a Hub id, folder or tokenizer.json file; default: the model's own"
    )
    weights: Literal["pretrained", "random"] = Field(
        "pretrained", description="'pretrained', or 'random' to use only the model's architecture"
    )
    pooling: Literal["own", "cls", "mean", "last"] = Field(
        "own",
        description="state of the first token, mean over real tokens, or state of the last token; 'own': as in the "
        "model's sentence-transformers files, otherwise last for CLIP and SigLIP and mean for others",
    )
    layers: Literal["last", "spread"] = Field(
        "last",
        description="'last': states of the last layer; 'spread': also those of the embeddings and of the middle layer, "
        "which are closer to the words",
    )
    frozen_layers: int | Literal["all"] = Field(
        "all",
        description="number of frozen layers from the bottom, embeddings included; 0: everything trains; all: all are "
        "frozen",
    )
    length: int = Field(
        128,
        ge=4,
        description="longest text in tokens, special tokens included; a text longer than the model's input is read in "
        "windows, whose vectors are averaged, weighted by tokens",
    )


class DistilBertOptions(HfTextOptions):
    """Options of `distilbert`."""

    model: str = Field(
        "distilbert-base-uncased",
        description="DistilBERT: a Hugging Face Hub id or a local folder",
    )
    pooling: Literal["own", "cls", "mean", "last"] = Field(
        "cls", description="state of the first token, mean over real tokens, or state of the last token"
    )
    frozen_layers: int | Literal["all"] = Field(
        4,
        description="number of frozen layers (of 6) from the bottom, embeddings included; 0: everything trains",
    )
    length: int = Field(32, ge=4, description="longest text in tokens, special tokens included")


class TinyTextOptions(Options):
    """Options of `tiny-text`."""

    vocabulary_size: int = Field(2000, ge=400, description="size of the vocabulary learned from the training texts")
    channels: int = Field(128, ge=8, description="width of token embeddings and of the convolution")
    length: int = Field(48, ge=4, description="longest text in tokens, special tokens included")


class BowOptions(Options):
    """Options of `bow`."""

    vocabulary_size: int = Field(
        2000, ge=400, description="size of the vocabulary learned from the training texts, for decoders"
    )
    buckets: int = Field(2048, ge=2, description="number of hash buckets for words; each has a trained vector")
    length: int = Field(128, ge=4, description="longest text in tokens, special tokens included")


@hookimpl
def vsr_text_encoders() -> list[Component]:
    """Declare the text encoders."""
    return [
        Component(
            name="distilbert",
            summary="DistilBERT with its two upper layers trained; the embedding is the state of [CLS]",
            build="vsr_plugins.text_encoders.pretrained:build",
            options=DistilBertOptions,
            requires="vsr_plugins.text_encoders.requirements:requirements",
            frozen_source="vsr_plugins.text_encoders.requirements:frozen_source",
        ),
        Component(
            name="hf-text",
            summary="any text encoder of transformers; default: a frozen MiniLM",
            build="vsr_plugins.text_encoders.pretrained:build",
            options=HfTextOptions,
            requires="vsr_plugins.text_encoders.requirements:requirements",
            frozen_source="vsr_plugins.text_encoders.requirements:frozen_source",
        ),
        Component(
            name="tiny-text",
            summary="a small CNN over a WordPiece vocabulary learned from the training texts",
            build="vsr_plugins.text_encoders.tiny:TinyText",
            options=TinyTextOptions,
        ),
        Component(
            name="bow",
            summary="a bag of hashed words with trained vectors; ignores word order",
            build="vsr_plugins.text_encoders.tiny:BagOfWords",
            options=BowOptions,
        ),
    ]
