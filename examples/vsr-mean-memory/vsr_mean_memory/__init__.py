"""A temporal model that ignores the order of the frames."""

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class MeanMemoryOptions(Options):
    """Options of `mean-memory`."""

    hidden: int = Field(256, ge=1, description="width of the hidden layer between the mean and the summary")


@hookimpl
def vsr_temporal_models() -> list[Component]:
    """Declare `mean-memory`."""
    return [
        Component(
            name="mean-memory",
            summary="the mean of the frames in any order, and a hidden layer",
            build="vsr_mean_memory.model:MeanMemory",
            options=MeanMemoryOptions,
        )
    ]
