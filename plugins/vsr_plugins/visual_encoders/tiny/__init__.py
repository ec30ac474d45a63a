"""Small encoders that train from scratch, for trying things out without any download."""

from typing import Literal

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class TinyCnnOptions(Options):
    """The options of `tiny-cnn`."""

    size: int = Field(64, ge=16, multiple_of=16, description="images are resized to this many pixels a side")


class TinyTextOptions(Options):
    """The options of `tiny-text`."""

    vocabulary_size: int = Field(
        2000, ge=400, description="most tokens of the vocabulary that is learnt from the training texts"
    )
    lowercase: bool = Field(False, description="lower case only; names then lose their capitals")
    channels: int = Field(128, ge=8, description="width of a token's embedding and of the convolution over them")
    length: int = Field(48, ge=4, description="most tokens read of a text, the first and last included")


class BowOptions(Options):
    """The options of `bow`."""

    vocabulary_size: int = Field(
        2000, ge=400, description="most tokens of the vocabulary that is learnt from the training texts, for decoders"
    )
    buckets: int = Field(2048, ge=2, description="how many numbers words are hashed to; each has a vector that trains")
    weighting: Literal["count", "log"] = Field(
        "count", description="a word's weight in the mean: how often it stands in the text, or log(1 + that)"
    )
    length: int = Field(128, ge=4, description="most tokens read of a text, the first and last included")


@hookimpl
def vsr_visual_encoders() -> list[Component]:
    """Declare `tiny-cnn`."""
    return [
        Component(
            name="tiny-cnn",
            summary="four small convolutions, trained from scratch",
            build="vsr_plugins.visual_encoders.tiny.model:build_cnn",
            options=TinyCnnOptions,
        )
    ]


@hookimpl
def vsr_text_encoders() -> list[Component]:
    """Declare `tiny-text` and `bow`."""
    return [
        Component(
            name="tiny-text",
            summary="a WordPiece vocabulary learnt from the training texts and one convolution over their tokens",
            build="vsr_plugins.visual_encoders.tiny.model:build_text",
            options=TinyTextOptions,
        ),
        Component(
            name="bow",
            summary="a bag of hashed words with trained vectors; ignores word order",
            build="vsr_plugins.visual_encoders.tiny.model:build_bow",
            options=BowOptions,
        ),
    ]
