"""The training loss of a pretrained diffusion model: its error at predicting the noise in noisy latents of true images.

Shapes: B stories, C channels and h w size of a latent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vsr_cli.api import VsrError

SUPPORTED = ("StableDiffusion", "StableDiffusionXL", "StableDiffusion3")


@dataclass(frozen=True)
class Prompt:
    """What leads the network."""

    texts: Sequence[str]
    """(B,)."""
    images: Tensor | None = None
    """Embeddings of the context's images (B, K, d), for an IP-Adapter."""


class NoisePrediction:
    """Noises latents, lets the pipeline's network predict the noise from a prompt, and returns its mean squared error.

    What is predicted follows the scheduler: the noise or the velocity (Ho et al. 2020, Salimans and Ho 2022), or the
    flow from data to noise (Liu et al. 2022, "Flow Straight and Fast").
    """

    def __init__(self, pipeline: Any, *, side: int) -> None:
        """Store the pipeline and the side in pixels of its images."""
        import diffusers

        self.pipeline, self.side = pipeline, side
        self.network = network_of(pipeline)
        name = type(pipeline).__name__.removesuffix("Pipeline").removesuffix("Img2Img")
        self.family = name if name in SUPPORTED else None
        self.scheduler = pipeline.scheduler
        self.levels = int(self.scheduler.config.num_train_timesteps)
        self.flows = "FlowMatch" in type(self.scheduler).__name__
        self.noising: Any = None
        if not self.flows:
            self.noising = diffusers.DDPMScheduler.from_config(self.scheduler.config, trust_remote_code=False)

    def latents(self, images: Tensor) -> Tensor:
        """Return the latents (B, C, h, w) of images (B, 3, s, s) in [0, 1]: the mean of their distribution."""
        vae, device = self.pipeline.vae, images.device.type
        wide = vae.dtype == torch.float16  # large autoencoders overflow in float16
        with torch.no_grad(), torch.autocast(device, enabled=False):
            if wide:
                vae.float()
            found = vae.encode((2 * images - 1).to(vae.dtype)).latent_dist.mode()
            if wide:
                vae.half()
            latents: Tensor = (found.float() - (vae.config.shift_factor or 0)) * vae.config.scaling_factor
            return latents

    def errors(self, latents: Tensor, prompt: Prompt, noise: Tensor, level: Tensor) -> Tensor:
        """Return the squared errors (B, C, h, w), by noise (B, C, h, w) and uniform numbers `level` (B,) in [0, 1)."""
        if self.flows:
            # Mostly the levels in the middle, where the prediction is difficult (Esser et al. 2024, section 3.1).
            share = (2**0.5 * torch.erfinv(2 * level.clamp(1e-4, 1 - 1e-4) - 1)).sigmoid()
            noisy = latents + share[:, None, None, None] * (noise - latents)
            return self._squared_error(noisy, share * self.levels, prompt, wanted=noise - latents)
        step = (level * self.levels).long()
        noisy = self.noising.add_noise(latents, noise, step)
        kind = self.noising.config.prediction_type
        wanted = self.noising.get_velocity(latents, noise, step) if kind == "v_prediction" else noise
        return self._squared_error(noisy, step, prompt, wanted=latents if kind == "sample" else wanted)

    def _squared_error(self, noisy: Tensor, step: Tensor, prompt: Prompt, *, wanted: Tensor) -> Tensor:
        """Return the squared errors (B, C, h, w) of what the network predicts from noisy latents and a prompt."""
        texts = list(prompt.texts)
        options = {"device": noisy.device, "num_images_per_prompt": 1, "do_classifier_free_guidance": False}
        given: dict[str, Any] = {}
        added: dict[str, Any] = {} if prompt.images is None else {"image_embeds": [prompt.images]}
        with torch.no_grad():
            if self.family == "StableDiffusion":
                words = self.pipeline.encode_prompt(texts, **options)[0]
            elif self.family == "StableDiffusionXL":
                words, _, pooled, _ = self.pipeline.encode_prompt(texts, **options)
                sizes = [self.side, self.side, 0, 0, self.side, self.side]  # original size, crop, target size
                times = torch.tensor([sizes] * len(texts), device=noisy.device, dtype=words.dtype)
                added |= {"text_embeds": pooled, "time_ids": times}
            elif self.family == "StableDiffusion3":
                words, _, pooled, _ = self.pipeline.encode_prompt(texts, texts, texts, **options)
                given["pooled_projections"] = pooled
            else:
                raise VsrError(
                    f"image decoder diffusion: the loss of {type(self.pipeline).__name__} is not supported, only that "
                    "of Stable Diffusion, XL and 3; set objective.image=0, or choose another image_decoder.model"
                )
        if added:
            given["added_cond_kwargs"] = added
        predicted = self.network(
            noisy.to(self.network.dtype), timestep=step, encoder_hidden_states=words, return_dict=False, **given
        )[0]
        return functional.mse_loss(predicted.float(), wanted.float(), reduction="none")


def network_of(pipeline: Any) -> Any:
    """Return the network that removes noise, the part that LoRA trains."""
    return getattr(pipeline, "unet", None) or pipeline.transformer
