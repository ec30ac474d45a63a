"""Visual encoders: turn the image of each frame into one embedding."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class TinyCnnOptions(Options):
    """Options of `tiny-cnn`."""

    size: int = Field(64, ge=16, multiple_of=16, description="side of the input images in pixels")


class VisualOptions(Options):
    """Options of all pretrained visual encoders."""

    frozen: Literal["all", "none"] = Field(
        "all",
        description="'all': the network is frozen and its features are cached; 'none': it trains, except the running "
        "statistics of batch normalization",
    )
    crop: bool = Field(
        False,
        description="crop the border as in the network's own evaluation; otherwise the whole image is resized",
    )
    style: bool = Field(
        False,
        description="add channel means and deviations of finer feature maps, which describe the style of an image; "
        "convolutional networks only",
    )


class ImagenetOptions(VisualOptions):
    """Options of `resnet50` and `mobilenet_v2`."""

    weights: str = Field(
        "imagenet",
        description=(
            "'imagenet' (torchvision's IMAGENET1K_V2 weights), 'random', or the path of a "
            ".safetensors, .pt or .pth file with torchvision's parameter names"
        ),
    )


class TorchvisionOptions(VisualOptions):
    """Options of `torchvision`."""

    architecture: str = Field(
        "resnet18", description="name of a torchvision classifier, such as convnext_tiny, vit_b_16 or swin_t"
    )
    weights: str = Field(
        "default",
        description=(
            "'default' (torchvision's best weights), another torchvision name such as IMAGENET1K_V1, "
            "'random', or the path of a .safetensors, .pt or .pth file with torchvision's parameter names"
        ),
    )


class TimmOptions(VisualOptions):
    """Options of `timm`."""

    model: str = Field("resnet18", description="name of a timm model, such as vit_small_patch14_dinov2.lvd142m")
    weights: str = Field(
        "pretrained",
        description="'pretrained' (timm's weights), 'random', or the path of a .safetensors, .pt or .pth file "
        "with timm's parameter names",
    )


class HfVisionOptions(VisualOptions):
    """Options of `hf-vision`."""

    model: str = Field(
        "facebook/dinov2-small",
        description="vision model or CLIP: a Hugging Face Hub id or a local folder (config.json, "
        "preprocessor_config.json and weights)",
    )
    weights: Literal["pretrained", "random"] = Field(
        "pretrained", description="'pretrained', or 'random' to use only the model's architecture"
    )
    pooling: Literal["pooler", "cls", "mean"] = Field(
        "pooler",
        description="embedding of the image: the model's pooled state, the state of its class token, or the mean over "
        "its patches",
    )


@hookimpl
def vsr_visual_encoders() -> list[Component]:
    """Declare the visual encoders."""
    return [
        Component(
            name="tiny-cnn",
            summary="a small CNN, trained from scratch",
            build="vsr_plugins.visual_encoders.tiny:TinyCnn",
            options=TinyCnnOptions,
        ),
        Component(
            name="resnet50",
            summary="ResNet-50, frozen, and a linear layer over its 2048 pooled features",
            build="vsr_plugins.visual_encoders.torchvision_networks:build_resnet50",
            options=ImagenetOptions,
            requires="vsr_plugins.visual_encoders.requirements:resnet50",
            frozen_source="vsr_plugins.visual_encoders.requirements:source_of_resnet50",
        ),
        Component(
            name="mobilenet_v2",
            summary="MobileNetV2, frozen, and a linear layer over its 1280 pooled features",
            build="vsr_plugins.visual_encoders.torchvision_networks:build_mobilenet_v2",
            options=ImagenetOptions,
            requires="vsr_plugins.visual_encoders.requirements:mobilenet_v2",
            frozen_source="vsr_plugins.visual_encoders.requirements:source_of_mobilenet_v2",
        ),
        Component(
            name="torchvision",
            summary="any torchvision classifier without its last layer; default: a frozen ResNet-18",
            build="vsr_plugins.visual_encoders.torchvision_networks:build",
            options=TorchvisionOptions,
            requires="vsr_plugins.visual_encoders.requirements:torchvision",
            frozen_source="vsr_plugins.visual_encoders.requirements:source_of_torchvision",
        ),
        Component(
            name="timm",
            summary="any image model of timm (pip install 'vsr-cli[timm]'); default: a frozen ResNet-18",
            build="vsr_plugins.visual_encoders.timm_networks:build",
            options=TimmOptions,
            requires="vsr_plugins.visual_encoders.requirements:timm",
            frozen_source="vsr_plugins.visual_encoders.requirements:source_of_timm",
        ),
        Component(
            name="hf-vision",
            summary="any vision model of transformers, or CLIP's image encoder; default: a frozen DINOv2",
            build="vsr_plugins.visual_encoders.transformers_networks:build",
            options=HfVisionOptions,
            requires="vsr_plugins.visual_encoders.requirements:hf_vision",
            frozen_source="vsr_plugins.visual_encoders.requirements:source_of_hf_vision",
        ),
    ]
