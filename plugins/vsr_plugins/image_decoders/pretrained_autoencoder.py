"""The decoder half of a pretrained autoencoder of the diffusers library, an optional dependency."""

from __future__ import annotations

import json
import logging
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor, nn

from vsr_cli.api import BuildContext, VsrError, one_line, quiet, refuse_foreign_code, refuse_missing_tensors

from ..library_errors import UNLOADABLE
from . import LatentOptions

CLASSES = ("AutoencoderKL", "AutoencoderTiny")
CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
INDEX = f"{WEIGHTS}.index.json"


class PretrainedDecoder(nn.Module):
    """From a latent of about unit variance to an image, cropped at the right and bottom if it is too large."""

    def __init__(self, autoencoder: Any, *, image_size: int) -> None:
        super().__init__()
        autoencoder.encoder = autoencoder.quant_conv = None  # the encoder is not used
        self.autoencoder = autoencoder
        self.image_size = image_size
        self.latent_channels: int = autoencoder.config.latent_channels
        with torch.no_grad():
            smallest = autoencoder.decode(torch.zeros(1, self.latent_channels, 1, 1)).sample  # (1, 3, f, f)
        self.latent_size = -(-image_size // smallest.shape[-1])  # rounded up

    def forward(self, latent: Tensor) -> Tensor:
        """Return (B, 3, H, W) in [0, 1] from (B, C, h, w)."""
        config, device = self.autoencoder.config, latent.device.type
        latent = latent / config.scaling_factor + (config.shift_factor or 0)
        if torch.get_autocast_dtype(device) == torch.float16:  # large autoencoders overflow in float16
            with torch.autocast(device, enabled=False):
                drawn = self.autoencoder.decode(latent.float()).sample
        else:
            drawn = self.autoencoder.decode(latent).sample
        drawn = drawn[..., : self.image_size, : self.image_size]  # (B, 3, f * h, f * w) -> (B, 3, H, W)
        image: Tensor = drawn / 2 + 0.5
        # Only the value is clamped, so that pixels out of range still get a gradient.
        return image.detach().clamp(0, 1) + (image - image.detach())

    def save_config(self, folder: Path) -> None:
        """Write the configuration for `build_pretrained`."""
        config = self.autoencoder.config
        facts = {name: value for name, value in config.items() if not name.startswith("_")}
        facts["_class_name"] = type(self.autoencoder).__name__
        (folder / CONFIG).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def build_pretrained(options: LatentOptions, context: BuildContext) -> PretrainedDecoder:
    """Load the autoencoder from a Hub id or folder, or build its architecture from the assets of a run.

    Raises VsrError if diffusers is not installed or loading fails.
    """
    try:
        import diffusers
    except ImportError as error:
        raise VsrError(
            "image decoder latent: image_decoder.model needs diffusers, which is not installed; "
            "pip install 'vsr-cli[diffusers]', or leave it out to train an autoencoder"
        ) from error
    with quiet(below=logging.CRITICAL):
        if context.assets is not None:
            refuse_foreign_code(context.assets)
            config = _read_config(context.assets)
            name = config.get("_class_name")
            if name not in CLASSES:  # the file could name any class
                raise VsrError(
                    f"{context.assets / CONFIG}: unsupported class (got {name}, not "
                    f"{' or '.join(CLASSES)}); restore the file, or train again"
                )
            autoencoder = getattr(diffusers, name).from_config(config, trust_remote_code=False)
        else:
            try:
                autoencoder = _load(options)
            except UNLOADABLE as error:
                raise VsrError(
                    f"image decoder latent: cannot load {options.model} ({one_line(error)}); name a folder with an "
                    f"{' or '.join(CLASSES)} in safetensors by --set image_decoder.model=FOLDER, the subfolder "
                    "of a pipeline by --set image_decoder.subfolder=vae, or set HF_HOME to a cache that has it"
                ) from error
    return PretrainedDecoder(autoencoder, image_size=context.image_size)


def _load(options: LatentOptions) -> Any:
    """Load the autoencoder. Raises errors of the library, or VsrError if it is not supported."""
    import diffusers
    from huggingface_hub import snapshot_download

    assert options.model is not None
    place, inner = Path(options.model), options.subfolder or ""
    if not place.is_dir():
        files = [str(PurePosixPath(inner, name)) for name in (CONFIG, WEIGHTS)]
        place = Path(snapshot_download(options.model, allow_patterns=files))
    refuse_foreign_code(place / inner)
    config = _read_config(place / inner)
    name = config.get("_class_name")
    if name not in CLASSES or config.get("out_channels", 3) != 3:
        raise VsrError(
            f"image decoder latent: {options.model} is not a supported autoencoder of RGB images "
            f"(got {name}); choose an {' or '.join(CLASSES)} by --set image_decoder.model=..."
        )
    if not (place / inner / WEIGHTS).is_file() or (place / inner / INDEX).exists():
        # An index may name pickled files.
        raise OSError(f"its weights are not in one file, {WEIGHTS}")
    autoencoder, report = getattr(diffusers, name).from_pretrained(
        place / inner, use_safetensors=True, trust_remote_code=False, output_loading_info=True
    )
    refuse_missing_tensors("image decoder latent", options.model, report["missing_keys"], option="image_decoder.model")
    return autoencoder.float()


def _read_config(folder: Path) -> Any:
    return json.loads((folder / CONFIG).read_text(encoding="utf-8"))
