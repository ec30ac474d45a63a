"""Frozen ImageNet convolutions of torchvision as visual encoders."""

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class TorchvisionOptions(Options):
    """The options of `resnet50` and `mobilenet_v2`."""

    weights: str = Field(
        "imagenet",
        description=(
            "'imagenet' (torchvision's own download, IMAGENET1K_V2), 'random', or the path of a "
            ".safetensors, .pt or .pth file with torchvision's names"
        ),
    )


@hookimpl
def vsr_visual_encoders() -> list[Component]:
    """Declare `resnet50` and `mobilenet_v2`."""
    return [
        Component(
            name="resnet50",
            summary="ResNet-50, frozen, and a linear layer over its 2048 pooled features",
            build="vsr_plugins.torchvision_encoders.model:build_resnet50",
            options=TorchvisionOptions,
        ),
        Component(
            name="mobilenet_v2",
            summary="MobileNetV2, frozen, and a linear layer over its 1280 pooled features",
            build="vsr_plugins.torchvision_encoders.model:build_mobilenet_v2",
            options=TorchvisionOptions,
        ),
    ]
