"""Image decoder `latent`: generates in the latent space of a frozen autoencoder."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import BuildContext, Narrative, TrainingFrames

from . import LatentOptions
from .autoencoder import LatentDecoder, train_decoder
from .pretrained_autoencoder import PretrainedDecoder, build_pretrained
from .resize_convolution import UpsamplingBlocks, sizes_up_to


class Latent(nn.Module):
    """A latent generated from the summary, decoded by a frozen autoencoder; the loss is that of the image."""

    def __init__(
        self, decoder: LatentDecoder | PretrainedDecoder, *, options: LatentOptions, context: BuildContext
    ) -> None:
        super().__init__()
        sizes = sizes_up_to(decoder.latent_size)
        self.features = UpsamplingBlocks(width=context.width, sizes=sizes, channels=options.channels)
        self.latent = nn.Conv2d(self.features.channels, decoder.latent_channels, 3, padding=1)
        self.decoder = decoder.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Latent:
        """Set the mode of what trains; the frozen decoder adds no noise."""
        super().train(mode)
        self.decoder.eval()
        return self

    def forward(self, narrative: Narrative) -> Tensor:
        """Return (B, 3, H, W) in [0, 1] from the summary (B, D)."""
        latent = self.latent(self.features(narrative.summary))  # (B, D) -> (B, C, h, w)
        image: Tensor = self.decoder(latent)  # -> (B, 3, H, W)
        return image

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the mean squared error of images (B, 3, H, W), a scalar."""
        return functional.mse_loss(prediction, target)


class TrainedLatent(Latent):
    """With an autoencoder of our own, trained before the first step of the model and frozen afterwards."""

    def __init__(self, *, options: LatentOptions, context: BuildContext) -> None:
        super().__init__(LatentDecoder(image_size=context.image_size), options=options, context=context)
        self.image_size = context.image_size
        self.autoencoder_steps = options.autoencoder_steps

    def fit(self, frames: TrainingFrames) -> None:
        """Train the autoencoder on the training images."""
        device = self.latent.weight.device
        trained = train_decoder(frames, image_size=self.image_size, steps=self.autoencoder_steps, device=device)
        self.decoder.load_state_dict(trained.state_dict())


class PretrainedLatent(Latent):
    """With an autoencoder of the diffusers library."""

    decoder: PretrainedDecoder

    def save_assets(self, folder: Path) -> None:
        """Write the autoencoder's configuration."""
        self.decoder.save_config(folder)


def build(options: LatentOptions, context: BuildContext) -> Latent:
    """Build the decoder with a pretrained autoencoder or a new one. Raises VsrError if loading it fails."""
    if options.model is None:
        return TrainedLatent(options=options, context=context)
    return PretrainedLatent(build_pretrained(options, context), options=options, context=context)
