"""Scores by pretrained models that are named by option: none is fetched unasked."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class BertScoreOptions(Options):
    """Options of `bertscore`."""

    model: str | None = Field(None, description="a folder or hub id of an encoder of the transformers library")
    layer: int = Field(-1, description="whose layer's states are compared; -1 is the last")
    length: int = Field(256, ge=8, le=512, description="tokens of a text that are read")


class ClipScoreOptions(Options):
    """Options of `clipscore`."""

    model: str | None = Field(None, description="a folder or hub id of a CLIP of the transformers library")


class LpipsOptions(Options):
    """Options of `lpips`."""

    weights: str | None = Field(None, description="a file with the network's state dict, as torchvision publishes it")
    net: Literal["alex", "vgg"] = Field("alex", description="AlexNet or VGG-16, whose features are compared")


@hookimpl
def vsr_metrics() -> list[Component]:
    """Return the metrics."""
    return [
        Component(
            name="bertscore",
            summary="F1 of the nearest tokens' cosines, by any encoder (--set metrics.bertscore.model=FOLDER)",
            build="vsr_plugins.metrics.learned.bertscore:build",
            options=BertScoreOptions,
        ),
        Component(
            name="clipscore",
            summary="how a text fits the true image, by any CLIP (--set metrics.clipscore.model=FOLDER)",
            build="vsr_plugins.metrics.learned.clipscore:build",
            options=ClipScoreOptions,
        ),
        Component(
            name="lpips",
            summary="learned perceptual distance of pictures (--set metrics.lpips.weights=FILE)",
            build="vsr_plugins.metrics.learned.lpips:build",
            options=LpipsOptions,
        ),
    ]
