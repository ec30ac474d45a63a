"""A temporal convolutional network over the frames of a story."""

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class TcnOptions(Options):
    """The options of `tcn`."""

    blocks: int = Field(2, ge=1, description="blocks of two convolutions; each reaches twice as far back as that below")
    kernel: int = Field(2, ge=2, description="frames that a convolution looks at")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="share of the channels dropped after each convolution")


@hookimpl
def vsr_temporal_models() -> list[Component]:
    """Declare `tcn`."""
    return [
        Component(
            name="tcn",
            summary="causal dilated convolutions over the frames; the summary is their last real step",
            build="vsr_plugins.temporal_models.tcn.model:build",
            options=TcnOptions,
        )
    ]
