"""Scores of predicted images against the true ones, on pixels in [0, 1]."""

from __future__ import annotations

from vsr_cli.api import Component, hookimpl


@hookimpl
def vsr_metrics() -> list[Component]:
    """Return the image metrics."""
    return [
        Component(
            name="mse",
            summary="mean squared error of pixels in [0, 1]",
            build="vsr_plugins.metrics.image.pixels:build_mse",
        ),
        Component(
            name="psnr",
            summary="peak signal-to-noise ratio in dB, of all windows' mean squared error",
            build="vsr_plugins.metrics.image.pixels:build_psnr",
        ),
        Component(
            name="ssim",
            summary="structural similarity, Gaussian window (torchmetrics)",
            build="vsr_plugins.metrics.image.ssim:build",
        ),
        Component(
            name="sharpness",
            summary="how sharp predictions are, over how sharp the targets are",
            build="vsr_plugins.metrics.image.texture:build_sharpness",
        ),
        Component(
            name="spread",
            summary="how much predictions differ between windows, over how much the targets do",
            build="vsr_plugins.metrics.image.texture:build_spread",
        ),
    ]
