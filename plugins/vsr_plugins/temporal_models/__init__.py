"""Temporal models: read the frames of a story in order and summarize them."""

from __future__ import annotations

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class RecurrentOptions(Options):
    """Options of `gru`, `lstm`, `rnn` and `attention-gru`."""

    layers: int = Field(1, ge=1, le=1000, description="stacked recurrent layers")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="dropout on the input of each layer")


class TransformerOptions(Options):
    """Options of the temporal model `transformer`."""

    layers: int = Field(2, ge=1, le=1000, description="transformer layers")
    heads: int = Field(4, ge=1, description="attention heads of a layer; the model width must be a multiple of it")
    feedforward: int | None = Field(
        None, ge=1, description="width of the feed-forward network; default: 4 times the model width"
    )
    dropout: float = Field(0.1, ge=0.0, lt=1.0, description="dropout on attention weights and layer outputs")


class SsmOptions(Options):
    """Options of `ssm`."""

    layers: int = Field(2, ge=1, le=1000, description="stacked linear recurrences")
    states: int | None = Field(None, ge=1, description="complex state dimensions per layer; default: the model width")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="dropout on layer outputs")


class TcnOptions(Options):
    """Options of `tcn`."""

    blocks: int = Field(2, ge=1, description="blocks of two convolutions; the dilation doubles with each block")
    kernel: int = Field(2, ge=2, description="kernel size in frames")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="channel dropout after each convolution")


class PoolingOptions(Options):
    """Options of `mean` and `last`."""

    hidden: int | None = Field(None, ge=1, description="width of the hidden layer; default: the model width")


@hookimpl
def vsr_temporal_models() -> list[Component]:
    """Declare the temporal models."""
    return [
        Component(
            name="gru",
            summary="a GRU over the frames; the summary is its last step",
            build="vsr_plugins.temporal_models.recurrent:build_gru",
            options=RecurrentOptions,
        ),
        Component(
            name="lstm",
            summary="an LSTM over the frames; the summary is its last step",
            build="vsr_plugins.temporal_models.recurrent:build_lstm",
            options=RecurrentOptions,
        ),
        Component(
            name="rnn",
            summary="an Elman network over the frames; the summary is its last step",
            build="vsr_plugins.temporal_models.recurrent:build_rnn",
            options=RecurrentOptions,
        ),
        Component(
            name="attention-gru",
            summary="a GRU whose last step attends to all steps; the summary combines both",
            build="vsr_plugins.temporal_models.recurrent:AttentionGru",
            options=RecurrentOptions,
        ),
        Component(
            name="transformer",
            summary="a causal transformer over the frames; the summary is its last real step",
            build="vsr_plugins.temporal_models.transformer:Transformer",
            options=TransformerOptions,
        ),
        Component(
            name="ssm",
            summary="a diagonal state-space model of linear recurrent units; the summary is its last real step",
            build="vsr_plugins.temporal_models.state_space:Ssm",
            options=SsmOptions,
        ),
        Component(
            name="tcn",
            summary="causal dilated convolutions over the frames; the summary is their last real step",
            build="vsr_plugins.temporal_models.convolution:Tcn",
            options=TcnOptions,
        ),
        Component(
            name="mean",
            summary="the mean of the frames through a hidden layer: a baseline without order",
            build="vsr_plugins.temporal_models.pooling:Mean",
            options=PoolingOptions,
        ),
        Component(
            name="last",
            summary="the last frame through a hidden layer: a baseline without memory",
            build="vsr_plugins.temporal_models.pooling:Last",
            options=PoolingOptions,
        ),
    ]
