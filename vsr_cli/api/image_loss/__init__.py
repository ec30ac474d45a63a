"""The loss of an image decoder: a weighted sum of errors, which of them and how much being the user's choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from ..component import Options

if TYPE_CHECKING:
    from ..parts import BuildContext
    from .terms import ImageLoss


class ImageLossOptions(Options):
    """The weights of an image decoder's errors; what has weight 0 is not computed. Subclass it for a decoder's own."""

    mse: float = Field(1.0, ge=0, description="weight of the mean squared error")
    l1: float = Field(0.0, ge=0, description="weight of the mean absolute error, which blurs less")
    ssim: float = Field(0.0, ge=0, description="weight of 1 - SSIM, the error of local structure")
    perceptual: float = Field(0.0, ge=0, description="weight of the distance between a frozen network's features")
    perceptual_network: Literal["vgg16", "resnet50", "mobilenet_v2"] = Field(
        "vgg16", description="the network of torchvision whose features perceptual compares"
    )
    perceptual_weights: str | None = Field(
        None,
        validate_default=True,
        description="the .safetensors, .pt or .pth file of its weights, with torchvision's names",
    )

    @field_validator("perceptual_weights")
    @classmethod
    def _named_if_needed(cls, path: str | None, info: ValidationInfo) -> str | None:
        if path is None and info.data.get("perceptual"):
            raise PydanticCustomError("no_weights", "perceptual needs trained weights; name their file")
        return path


def build_image_loss(options: ImageLossOptions, context: BuildContext) -> ImageLoss:
    """Build what a decoder's `loss` can be: a module that gives a scalar from two images (B, 3, H, W) in [0, 1].

    As a submodule of the decoder it is kept by the run, the frozen network of `perceptual` with it. Raises VsrError if
    that network's weights cannot be read.
    """
    from .terms import ImageLoss

    if not options.perceptual:
        return ImageLoss(options, None)
    from .perceptual import build_perceptual  # brings torchvision, which takes a second to import

    return ImageLoss(options, build_perceptual(options, context))
