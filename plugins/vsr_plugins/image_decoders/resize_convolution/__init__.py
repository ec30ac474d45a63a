"""Image decoders that enlarge by interpolation and then convolve."""

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from vsr_cli.api import Component, Options, hookimpl


class ResizeConvolutionOptions(Options):
    """The options of `upsample` and `residual`."""

    channels: int = Field(
        256,
        ge=16,
        description="channels at the smallest size, halved at each doubling, down to 16",
    )


class LatentOptions(ResizeConvolutionOptions):
    """The options of `latent`."""

    model: str | None = Field(
        None,
        description="a pretrained AutoencoderKL or AutoencoderTiny of diffusers, by its id on the Hugging Face hub or "
        "its folder (pip install 'vsr-cli[diffusers]'); null learns one",
    )
    subfolder: str | None = Field(None, description="where in the model's place it lies: 'vae' in a pipeline's")
    autoencoder_steps: int = Field(
        500, ge=1, description="without a model: steps of 16 training images that one learns from before all else"
    )

    @field_validator("subfolder")
    @classmethod
    def _only_within_a_model(cls, subfolder: str | None, info: ValidationInfo) -> str | None:
        if subfolder is not None and info.data.get("model", "") is None:
            raise PydanticCustomError("idle_subfolder", "of which model? name it with --set image_decoder.model=PLACE")
        return subfolder


@hookimpl
def vsr_image_decoders() -> list[Component]:
    """Declare `upsample`, `residual` and `latent`."""
    return [
        Component(
            name="upsample",
            summary="drawn from the summary, each doubling an interpolation and a convolution: no checkerboards",
            build="vsr_plugins.image_decoders.resize_convolution.model:build_upsample",
            options=ResizeConvolutionOptions,
        ),
        Component(
            name="residual",
            summary="the last image, with what changes drawn over it through a mask; it starts near a copy",
            build="vsr_plugins.image_decoders.resize_convolution.model:build_residual",
            options=ResizeConvolutionOptions,
        ),
        Component(
            name="latent",
            summary="drawn from the summary in the latent space of an autoencoder, pretrained or learnt beforehand",
            build="vsr_plugins.image_decoders.resize_convolution.latent:build",
            options=LatentOptions,
            requires="vsr_plugins.image_decoders.resize_convolution.requirements:latent",
        ),
    ]
