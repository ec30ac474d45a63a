"""Requirements of `latent` with a pretrained autoencoder: diffusers and the model."""

from __future__ import annotations

from vsr_cli.api import Requirement, missing_model, missing_package

from . import LatentOptions

FILES = ("config.json", "diffusion_pytorch_model.safetensors")


def latent(options: LatentOptions) -> list[Requirement]:
    """Return the missing library and files; none if an autoencoder is trained."""
    if options.model is None:
        return []
    inner = f"{options.subfolder}/" if options.subfolder else ""
    files = [f"{inner}{name}" for name in FILES]
    found = missing_package("diffusers", extra="diffusers")
    return [*found, *missing_model(options.model, option="image_decoder.model", files=files)]
