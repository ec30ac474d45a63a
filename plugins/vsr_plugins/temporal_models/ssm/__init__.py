"""A state-space model over the frames of a story."""

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class SsmOptions(Options):
    """The options of `ssm`."""

    layers: int = Field(2, ge=1, le=1000, description="linear recurrences, one above the other")
    states: int | None = Field(None, ge=1, description="complex numbers a layer remembers; none: the model's width")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="share dropped of what each layer adds")


@hookimpl
def vsr_temporal_models() -> list[Component]:
    """Declare `ssm`."""
    return [
        Component(
            name="ssm",
            summary="a diagonal state-space model of linear recurrent units; the summary is its last real step",
            build="vsr_plugins.temporal_models.ssm.model:build",
            options=SsmOptions,
        )
    ]
