"""Pretrained networks of torchvision, timm and transformers as visual encoders."""

from typing import Literal

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class VisualOptions(Options):
    """What all encoders of this plugin can be told."""

    frozen: Literal["all", "none"] = Field(
        "all",
        description="'all': the network never trains and its features are computed once; 'none': all of it trains, "
        "but for the running statistics of batch normalisation",
    )
    crop: bool = Field(
        False,
        description="cut the border off as the network's own evaluation does; otherwise it is given the whole picture",
    )
    style: bool = Field(
        False,
        description="beside the network's own vector, the mean and deviation of each channel of its finer maps, which "
        "say how a picture is drawn; for convolutional networks",
    )


class ImagenetOptions(VisualOptions):
    """The options of `resnet50` and `mobilenet_v2`."""

    weights: str = Field(
        "imagenet",
        description=(
            "'imagenet' (torchvision's own download, IMAGENET1K_V2), 'random', or the path of a "
            ".safetensors, .pt or .pth file with torchvision's names"
        ),
    )


class TorchvisionOptions(VisualOptions):
    """The options of `torchvision`."""

    architecture: str = Field(
        "resnet18", description="a classifier by torchvision's own name, such as convnext_tiny, vit_b_16 or swin_t"
    )
    weights: str = Field(
        "default",
        description=(
            "'default' (the best that torchvision publishes), another of its names for them such as IMAGENET1K_V1, "
            "'random', or the path of a .safetensors, .pt or .pth file with torchvision's names"
        ),
    )


class TimmOptions(VisualOptions):
    """The options of `timm`."""

    model: str = Field(
        "resnet18", description="a model by timm's own name, such as vit_small_patch14_dinov2.lvd142m (name.weights)"
    )
    weights: str = Field(
        "pretrained",
        description="'pretrained' (timm's own download), 'random', or the path of a .safetensors, .pt or .pth file "
        "with timm's names",
    )


class HfVisionOptions(VisualOptions):
    """The options of `hf-vision`."""

    model: str = Field(
        "facebook/dinov2-small",
        description="a vision model's or a CLIP's id on the Hugging Face hub, or the folder of one (config.json, "
        "preprocessor_config.json and weights)",
    )
    weights: Literal["pretrained", "random"] = Field(
        "pretrained", description="'pretrained', or 'random' to take only the model's structure"
    )
    pooling: Literal["pooler", "cls", "mean"] = Field(
        "pooler",
        description="what stands for the picture: the model's own pooled state, the state of its class token, or the "
        "mean over its patches",
    )


@hookimpl
def vsr_visual_encoders() -> list[Component]:
    """Declare `resnet50`, `mobilenet_v2`, `torchvision`, `timm` and `hf-vision`."""
    return [
        Component(
            name="resnet50",
            summary="ResNet-50, frozen, and a linear layer over its 2048 pooled features",
            build="vsr_plugins.visual_encoders.pretrained.networks.torchvision:build_resnet50",
            options=ImagenetOptions,
            requires="vsr_plugins.visual_encoders.pretrained.requirements:resnet50",
        ),
        Component(
            name="mobilenet_v2",
            summary="MobileNetV2, frozen, and a linear layer over its 1280 pooled features",
            build="vsr_plugins.visual_encoders.pretrained.networks.torchvision:build_mobilenet_v2",
            options=ImagenetOptions,
            requires="vsr_plugins.visual_encoders.pretrained.requirements:mobilenet_v2",
        ),
        Component(
            name="torchvision",
            summary="any of torchvision's classifiers less its last layer, by default a frozen ResNet-18",
            build="vsr_plugins.visual_encoders.pretrained.networks.torchvision:build",
            options=TorchvisionOptions,
            requires="vsr_plugins.visual_encoders.pretrained.requirements:torchvision",
        ),
        Component(
            name="timm",
            summary="any image model of the timm library, by default a frozen ResNet-18 (pip install 'vsr-cli[timm]')",
            build="vsr_plugins.visual_encoders.pretrained.networks.timm:build",
            options=TimmOptions,
            requires="vsr_plugins.visual_encoders.pretrained.requirements:timm",
        ),
        Component(
            name="hf-vision",
            summary="any vision model of the transformers library, or CLIP's half, by default a frozen DINOv2",
            build="vsr_plugins.visual_encoders.pretrained.networks.transformers:build",
            options=HfVisionOptions,
            requires="vsr_plugins.visual_encoders.pretrained.requirements:hf_vision",
        ),
    ]
