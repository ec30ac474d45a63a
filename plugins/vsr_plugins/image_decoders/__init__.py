"""Image decoders: generate the image of the next frame."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from vsr_cli.api import Component, Options, hookimpl

MOST_CODES = 8192
"""Most codes of `tokens`: each position of an image gets a score for every code."""


class DeconvOptions(Options):
    """Options of `deconv`."""

    channels: int = Field(
        256,
        ge=16,
        description="channels at the smallest size, halved with each doubling of the size, at least 16",
    )


class ResizeConvolutionOptions(Options):
    """Options of `upsample` and `residual`."""

    channels: int = Field(
        256,
        ge=16,
        description="channels at the smallest size, halved with each doubling of the size, at least 16",
    )


class DiffusionOptions(Options):
    """Options of `diffusion`."""

    model: str = Field(
        "stabilityai/sd-turbo",
        description="text-to-image pipeline of diffusers: a Hugging Face Hub id or a local folder",
    )
    trained: Literal["none", "lora"] = Field(
        "none", description="what trains: nothing, or LoRA weights in the network that removes the noise"
    )
    rank: int = Field(16, ge=1, description="lora: rank of the updates")
    gradient_checkpointing: bool = Field(False, description="lora: compute activations twice instead of storing them")
    style: str = Field("", description="words that end every prompt, such as 'watercolor, soft light'")
    strength: float | None = Field(
        None,
        gt=0,
        le=1,
        description="start from the context's last image with this share of noise, by as large a share of the steps; "
        "default: start from noise",
    )
    ip_adapter: str | None = Field(
        None,
        description="weights of an IP-Adapter, which reads the context's images: a file in safetensors, or "
        "OWNER/NAME/FILE of the Hugging Face Hub",
    )
    ip_adapter_encoder: str | None = Field(
        None,
        description="the adapter's CLIP image encoder: a folder, or OWNER/NAME/FOLDER of the Hugging Face Hub; "
        "default: image_encoder, beside the adapter's file",
    )
    ip_adapter_scale: float = Field(0.5, ge=0, le=2, description="weight of the context's images beside the prompt")
    steps: int = Field(4, ge=1, le=1000, description="denoising steps")
    guidance: float = Field(
        0.0,
        ge=0,
        le=100,
        description="scale of classifier-free guidance; up to 1: none, for SD-Turbo and others of few steps",
    )
    scheduler: str | None = Field(
        None,
        description="scheduler class of diffusers, e.g. EulerAncestralDiscreteScheduler; default: the pipeline's own",
    )
    image_size: int | None = Field(
        None,
        ge=1,
        description="side in pixels of the images that the pipeline generates, resized afterwards; default: the side "
        "that it was trained for",
    )
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="type of the weights; auto: fp32 without a GPU, else bf16, or fp16 if the GPU has no bf16"
    )

    @model_validator(mode="after")
    def _at_least_one_step(self) -> DiffusionOptions:
        if self.strength is not None and int(self.steps * self.strength) < 1:
            raise PydanticCustomError(
                "no_step",
                "strength {strength} of {steps} steps leaves no step; raise image_decoder.steps or strength",
                {"strength": self.strength, "steps": self.steps},
            )
        return self


class TokensOptions(Options):
    """Options of `tokens`."""

    autoencoder: str | None = Field(
        None,
        description="a trained autoencoder: 'storyworld', which ships with vsr for the embedded stories, or the "
        "autoencoder.safetensors of an earlier run with the same levels and patch; null trains one",
    )
    autoencoder_steps: int = Field(
        1000, ge=1, description="without one: training steps of the autoencoder, of 16 images each"
    )
    patch: Literal[4, 8, 16, 32] | None = Field(
        None, description="pixels per token and side; null: 8 up to 128 pixels of an image, 16 above"
    )
    levels: tuple[Annotated[int, Field(ge=3, le=15)], ...] = Field(
        (5, 5, 5, 5),
        min_length=1,
        max_length=8,
        description="levels of each channel of the quantizer, odd numbers; their product is the number of codes, at "
        "most 8192",
    )
    width: int = Field(128, ge=32, multiple_of=32, description="width of the transformer, a multiple of 32")
    layers: int = Field(2, ge=1, le=1000, description="layers of the transformer")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout within the transformer, in training")
    word_dropout: float = Field(
        0.0, ge=0, lt=1, description="share of the words of the true text that are hidden in training"
    )
    text_dropout: float = Field(
        0.1, ge=0, lt=1, description="share of the texts that are hidden as a whole in training, if there is guidance"
    )
    guidance: float = Field(
        0.0,
        ge=0,
        le=100,
        description="how far the text changes the scores of codes beyond what was learned; 0: none, which is faster",
    )
    temperature: float = Field(
        0.5, ge=0.01, le=100, description="of sampling: below 1, likelier codes become likelier still"
    )
    steps: int = Field(8, ge=1, le=1000, description="decoding steps, each of which settles a part of the codes")

    @field_validator("levels")
    @classmethod
    def _odd_and_few(cls, levels: tuple[int, ...]) -> tuple[int, ...]:
        if any(level % 2 == 0 for level in levels):
            raise PydanticCustomError("even_levels", "each must be odd, so that 0 is a level, such as 5,5,5,5")
        if math.prod(levels) > MOST_CODES:
            raise PydanticCustomError("many_codes", f"their product must be at most {MOST_CODES}, such as 7,5,5,5")
        return levels


@hookimpl
def vsr_image_decoders() -> list[Component]:
    """Declare the image decoders."""
    return [
        Component(
            name="deconv",
            summary="transposed convolutions from the summary",
            build="vsr_plugins.image_decoders.deconv:Deconv",
            options=DeconvOptions,
        ),
        Component(
            name="upsample",
            summary="interpolation and convolutions from the summary, free of checkerboard artifacts",
            build="vsr_plugins.image_decoders.resize_convolution:Upsample",
            options=ResizeConvolutionOptions,
        ),
        Component(
            name="residual",
            summary="changes to the last image through a learned mask; starts close to a copy",
            build="vsr_plugins.image_decoders.resize_convolution:Residual",
            options=ResizeConvolutionOptions,
        ),
        Component(
            name="diffusion",
            summary="a pretrained text-to-image pipeline of diffusers, prompted with the next text",
            build="vsr_plugins.image_decoders.diffusion:build",
            options=DiffusionOptions,
            requires="vsr_plugins.image_decoders.diffusion_files:requirements",
        ),
        Component(
            name="repeat-context",
            summary="repeats an image of the context as it stands, most often the last; generates nothing new",
            build="vsr_plugins.image_decoders.repeat_context:RepeatContextImageDecoder",
        ),
        Component(
            name="tokens",
            summary="generates the codes of an image from the words of the next text, and copies codes of the context",
            build="vsr_plugins.image_decoders.tokens:Tokens",
            options=TokensOptions,
        ),
        Component(
            name="retrieval",
            summary="retrieves the training image that the next_frame objective scores highest",
            build="vsr_plugins.image_decoders.retrieval:RetrievalImageDecoder",
        ),
    ]
