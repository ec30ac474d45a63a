"""Image decoders that enlarge by interpolation and then convolve."""

from pydantic import Field

from vsr_cli.api import Component, ImageLossOptions, hookimpl


class ResizeConvolutionOptions(ImageLossOptions):
    """The options of `upsample` and `residual`."""

    channels: int = Field(
        256,
        ge=16,
        description="channels at the smallest size, halved at each doubling, down to 16",
    )


@hookimpl
def vsr_image_decoders() -> list[Component]:
    """Declare `upsample` and `residual`."""
    return [
        Component(
            name="upsample",
            summary="drawn from the summary, each doubling an interpolation and a convolution: no checkerboards",
            build="vsr_plugins.resize_convolution.model:build_upsample",
            options=ResizeConvolutionOptions,
        ),
        Component(
            name="residual",
            summary="the last image, with what changes drawn over it through a mask; it starts from a copy",
            build="vsr_plugins.resize_convolution.model:build_residual",
            options=ResizeConvolutionOptions,
        ),
    ]
