"""An image decoder of transposed convolutions."""

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class DeconvOptions(Options):
    """The options of `deconv`."""

    channels: int = Field(
        256,
        ge=16,
        description="channels at the smallest size, halved at each doubling, down to 16",
    )


@hookimpl
def vsr_image_decoders() -> list[Component]:
    """Declare `deconv`."""
    return [
        Component(
            name="deconv",
            summary="learned upsampling of the summary, by transposed convolutions",
            build="vsr_plugins.image_decoders.deconv.model:build",
            options=DeconvOptions,
        )
    ]
