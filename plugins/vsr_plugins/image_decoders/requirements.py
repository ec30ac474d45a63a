"""What a pretrained autoencoder needs before it is built: diffusers, and itself."""

from __future__ import annotations

from vsr_cli.api import Requirement, missing_model, missing_package

from . import LatentOptions

FILES = ("config.json", "diffusion_pytorch_model.safetensors")


def latent(options: LatentOptions) -> list[Requirement]:
    """Return what is not here yet; nothing where the autoencoder is learnt."""
    if options.model is None:
        return []
    inner = f"{options.subfolder}/" if options.subfolder else ""
    files = [f"{inner}{name}" for name in FILES]
    found = missing_package("diffusers", extra="diffusers")
    return [*found, *missing_model(options.model, option="image_decoder.model", files=files)]
