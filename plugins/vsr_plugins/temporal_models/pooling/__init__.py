"""Temporal models that forget something on purpose: the order of the frames, or all but the last."""

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class PoolingOptions(Options):
    """The options of `mean` and `last`."""

    hidden: int | None = Field(None, ge=1, description="width of the hidden layer; none: the model's width")


@hookimpl
def vsr_temporal_models() -> list[Component]:
    """Declare `mean` and `last`."""
    return [
        Component(
            name="mean",
            summary="the mean of the frames, whatever their order, through a hidden layer",
            build="vsr_plugins.temporal_models.pooling.model:build_mean",
            options=PoolingOptions,
        ),
        Component(
            name="last",
            summary="the last frame, whatever came before it, through a hidden layer",
            build="vsr_plugins.temporal_models.pooling.model:build_last",
            options=PoolingOptions,
        ),
    ]
