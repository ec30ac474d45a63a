"""Image decoders: generate the image of the next frame."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from vsr_cli.api import Component, Options, hookimpl


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


class LatentOptions(ResizeConvolutionOptions):
    """Options of `latent`."""

    model: str | None = Field(
        None,
        description="a pretrained AutoencoderKL or AutoencoderTiny of diffusers: a Hugging Face Hub id or a local "
        "folder (pip install 'vsr-cli[diffusers]'); null trains one",
    )
    subfolder: str | None = Field(None, description="subfolder of the model, such as 'vae' in a diffusers pipeline")
    autoencoder_steps: int = Field(
        500, ge=1, description="without a model: training steps of the autoencoder, of 16 images each"
    )

    @field_validator("subfolder")
    @classmethod
    def _only_within_a_model(cls, subfolder: str | None, info: ValidationInfo) -> str | None:
        if subfolder is not None and info.data.get("model", "") is None:
            raise PydanticCustomError("idle_subfolder", "needs a model; set image_decoder.model=ID_OR_FOLDER")
        return subfolder


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
            name="latent",
            summary="generates in the latent space of an autoencoder, pretrained or trained beforehand",
            build="vsr_plugins.image_decoders.latent:build",
            options=LatentOptions,
            requires="vsr_plugins.image_decoders.requirements:latent",
        ),
        Component(
            name="retrieval",
            summary="retrieves the training image that the next_frame objective scores highest",
            build="vsr_plugins.image_decoders.retrieval:RetrievalImageDecoder",
        ),
    ]
