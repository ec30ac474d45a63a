"""An image decoder that draws in the latent space of a frozen autoencoder."""

from __future__ import annotations

from torch import Tensor, nn

from vsr_cli.api import BuildContext, Narrative, VsrError, build_image_loss

from . import LatentOptions
from .autoencoder import LatentDecoder, learn_decoder
from .enlarging import Enlarging, sizes_up_to


class Latent(nn.Module):
    """The latent of an image drawn from the summary, and the image that a frozen autoencoder makes of it.

    The errors are those of the image: the gradient passes through the frozen half.
    """

    def __init__(self, decoder: LatentDecoder, *, options: LatentOptions, context: BuildContext) -> None:
        super().__init__()
        sizes = sizes_up_to(decoder.latent_size)
        self.features = Enlarging(width=context.width, sizes=sizes, channels=options.channels)
        self.latent = nn.Conv2d(self.features.channels, decoder.latent_channels, 3, padding=1)
        self.decoder = decoder.requires_grad_(False).eval()
        self.loss = build_image_loss(options, context)

    def train(self, mode: bool = True) -> Latent:
        """Set the mode of what trains; the frozen decoder adds no noise."""
        super().train(mode)
        self.decoder.eval()
        return self

    def forward(self, narrative: Narrative) -> Tensor:
        """Give (B, 3, H, W) in [0, 1] from the summary (B, D)."""
        latent = self.latent(self.features(narrative.summary))  # (B, D) -> (B, C, h, w)
        image: Tensor = self.decoder(latent)  # -> (B, 3, H, W)
        return image


def build(options: LatentOptions, context: BuildContext) -> Latent:
    """Build the decoder over an autoencoder that is learnt first, or whose weights a run holds.

    Raises VsrError if there is no image to learn from.
    """
    if context.assets is not None:
        return Latent(LatentDecoder(image_size=context.image_size), options=options, context=context)
    if context.training_images is None or not len(images := context.training_images()):
        raise VsrError(
            "image decoder latent: no autoencoder can be learnt (the training split has no image); choose a dataset "
            "with images in its training split"
        )
    decoder = learn_decoder(images, image_size=context.image_size, steps=options.autoencoder_steps)
    return Latent(decoder, options=options, context=context)
