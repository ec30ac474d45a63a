"""Recurrent temporal models over the frames of a story."""

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class RecurrentOptions(Options):
    """The options of `gru`, `lstm`, `rnn` and `attention-gru`."""

    layers: int = Field(1, ge=1, le=1000, description="recurrent layers, one above the other")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="share dropped of what each layer reads")


@hookimpl
def vsr_temporal_models() -> list[Component]:
    """Declare `gru`, `lstm`, `rnn` and `attention-gru`."""
    return [
        Component(
            name="gru",
            summary="a GRU over the frames; the summary is its last step",
            build="vsr_plugins.temporal_models.recurrent.model:build_gru",
            options=RecurrentOptions,
        ),
        Component(
            name="lstm",
            summary="an LSTM over the frames; the summary is its last step",
            build="vsr_plugins.temporal_models.recurrent.model:build_lstm",
            options=RecurrentOptions,
        ),
        Component(
            name="rnn",
            summary="a plain recurrent network over the frames; the summary is its last step",
            build="vsr_plugins.temporal_models.recurrent.model:build_rnn",
            options=RecurrentOptions,
        ),
        Component(
            name="attention-gru",
            summary="a GRU over the frames whose last real step attends to all steps; the summary is both together",
            build="vsr_plugins.temporal_models.recurrent.model:build_attention_gru",
            options=RecurrentOptions,
        ),
    ]
